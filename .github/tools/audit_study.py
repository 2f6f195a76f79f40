"""How often does the audit err? Honest decoders and planted cheats, over 20 simulated worlds.

    python .github/tools/audit_study.py [--seeds 20] [--method-seeds 20] [--first 0] [--out nbs/fixtures/audit_study.json] [--work FOLDER]

Decoders are those of nbs/53_controls.ipynb (cells `decoders` and `cheats`), ridge to the latents of the shipped codec, and the
method itself: codec and prior as shipped, phase 1 of 60 steps, phase 3's readout as its only paired stage, 10 looks of the sampler.
The world is `small` with 3 instead of 8 training pictures of each category and 12 instead of 35 repeats of a test picture (405
training trials beside 45 of validation; 1,024 voxels; 50 test pictures). Ridge gets 3 shuffled twins, all others one. Honest
decoders go through the whole audit; of the cheats the bit checks and the statistical ones are asked.

Resumable: a decoder and seed that stand in the file are not run again. The cheap decoders come first, for all seeds; then the
method. Prints one line for each. Takes about 90 s a seed for the cheap ones and 130 s for the method, on one busy core."""
import argparse, json, sys, time
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

def cells_of(notebook, ids):
    "Sources of some cells of a notebook."
    cells = json.loads(Path(notebook).read_text(encoding='utf-8'))['cells']
    return '\n\n'.join(''.join(c['source']) for k in ids for c in cells if c['id'] == k)

space = {}
exec(cells_of(ROOT/'nbs'/'53_controls.ipynb', ('imports', 'setup', 'decoders', 'cheats')), space)
import numpy as np
import torch
from visdec.autoencoder import decode, encode
from visdec.cad import ContrastAttendDiffuse
from visdec.controls import audit, check_nulls, check_twins, judged
from visdec.core import atomic_file
from visdec.leaks import POISON, Case, check_answers, check_training
from visdec.memory import check_memory
from visdec.parts import load_parts, suited
from visdec.pipeline import make_config, method_part
from visdec.recording import zscore
from visdec.sim import WORLDS, simulate_rest
from visdec.stages import Stages

WORLDS['small-3'] = replace(WORLDS['small'], pictures=3, repeats=12)

class CodecLatent(space['Ridge']):
    "Ridge to the latents of the shipped codec."
    codec = None
    def features(self, pictures): return encode(self.codec, np.asarray(pictures)).flatten(1).double().numpy()
    def pictures(self, y):
        side = int((y.shape[1]//self.codec.config.latent_channels)**.5)
        z = torch.as_tensor(y).float().reshape(len(y), -1, side, side)
        return decode(self.codec, z).reshape(len(y), -1)/255

def the_method(seed, study, work, parts):
    c = make_config('small', changes={'tune.steps': 0, 'pretrain.steps': 60, 'sampling.steps': 10})
    rest = simulate_rest('small-3', seed)
    study.rest = zscore(rest, np.zeros(len(rest)))
    return ContrastAttendDiffuse(method_part(suited(c, parts)), Stages(work/f'method-{seed}'), parts, progress=False)

def asked(decoder, study, seed):
    "The bit checks and the statistical ones of an audit."
    case = Case(decoder, study, seed)
    lines = check_answers(case) + [check_training(case, k) for k in POISON] + check_nulls(case) + check_twins(case)
    return dict(lines=judged(lines + check_memory(case)), claim=dict(allowed=None))

def short(card):
    "What the table keeps of a card."
    lines = [k for k in card['lines'] if k['verdict'] != 'not applicable']
    def key(k): return f"{k['letter']} {k['check']}"
    return dict(failed=[key(k) for k in lines if k['verdict'] == 'failed'],
                passed=[key(k) for k in lines if k['verdict'] == 'passed'],
                p={key(k): round(k['p'], 4) for k in lines if k['p'] is not None},
                value={key(k): round(k['value'], 3) for k in lines
                       if k['kind'] != 'bit' and k['value'] is not None and abs(k['value']) < 1e6},
                null={key(k): round(k['null'], 3) for k in lines if k['kind'] == 'statistical'},
                claim=card['claim']['allowed'])

def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--seeds', type=int, default=20)
    p.add_argument('--method-seeds', type=int, default=20)
    p.add_argument('--first', type=int, default=0, help='the first world: several processes may share the study, each with a file of its own')
    p.add_argument('--out', default=str(ROOT/'nbs/fixtures/audit_study.json'))
    p.add_argument('--work', default='/tmp/audit_study')
    a = p.parse_args()
    out, work = Path(a.out), Path(a.work)
    found = json.loads(out.read_text()) if out.exists() else {}
    parts, _ = load_parts(shipped=32)
    CodecLatent.codec = parts.codec
    cheap = {**space['HONEST'], 'ridge to latents': CodecLatent, **{k: v[0] for k, v in space['CHEATS'].items()}}
    tasks = [(s, k) for s in range(a.first, a.seeds) for k in cheap] + [(s, 'the method') for s in range(a.first, a.method_seeds)]
    at, study = None, None
    for seed, name in tasks:
        if str(seed) in found.get(name, {}): continue
        if at != seed: at, study = seed, space['small_study'](seed, 'small-3')
        start, cheat = time.time(), name in space['CHEATS']
        decoder = the_method(seed, study, work, parts) if name == 'the method' else cheap[name]()
        card = asked(decoder, study, seed) if cheat else audit(
            decoder, study, twins=3 if name == 'ridge' else 1, seed=seed, alone=1 if name == 'the method' else 3)
        found.setdefault(name, {})[str(seed)] = short(card)
        with atomic_file(out) as tmp: tmp.write_text(json.dumps(found, separators=(',', ':')) + '\n', encoding='utf-8')
        print(f"seed {seed:2d} {name:26s} {time.time() - start:4.0f} s  {', '.join(found[name][str(seed)]['failed']) or '-'}", flush=True)

if __name__ == '__main__': main()
