#!/usr/bin/env python3
"""What phase 2 cross-fitted buys, and what the length of a response buys a code: behind chapters 44 and 47.

    python .github/tools/honest_tokens.py --worlds 0 --out honest.json       # about 15 min of one core; resumes
    python .github/tools/honest_tokens.py --table

The encoder of the preset `small` (phases 1 and 2, 1,080 pairs). A ridge readout of the prior's looks is fitted to its
tokens, without voxels beside them and with them, and scored on 50 test pictures: two-way and fifty-way by look, from
two single trials each and from the mean of 35.

  as it is      tokens of one length, times the length of the response, of the encoder that met all pairs (the default)
  cross-fitted  the readout learns from tokens of encoders that did not meet the trial (`attend.folds=5`)
  no length     tokens of one length, and the length of a response is lost
  as they come  tokens of responses as they are: LayerNorm alone decides"""
import json, sys, time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2])), sys.path.insert(0, str(Path(__file__).resolve().parent))
from demo_study import read_scores
from separate_study import gains, gains_text, kept_rows, study_options
from visdec.autoencoder import encode
from visdec.cad import ContrastAttendDiffuse
from visdec.decode import ReadoutConditioner, fit_readout
from visdec.look import seen_of
from visdec.parts import load_parts, suited
from visdec.presets import make_config, method_part
from visdec.sim import world_of
from visdec.stages import Stages
from visdec.study import open_study

class NoLength(ReadoutConditioner):
    def pages(self, x):
        tokens = (self.alike(x) - self.middle).flatten(1)
        return torch.cat([tokens] + [self.pad(x)]*self.config.bypass, 1)

class AsTheyCome(NoLength):
    def alike(self, x): return self.tokens(self.pad(x))

KINDS = {'as it is': ReadoutConditioner, 'cross-fitted': ReadoutConditioner, 'no length': NoLength, 'as they come': AsTheyCome}

class Pipe:
    def __init__(self, conditioner): self.conditioner = conditioner

def one_world(seed, folder, say):
    config = make_config('small', seed=seed)
    config = replace(config, attend=replace(config.attend, folds=5))
    parts, _ = load_parts(**asdict(config.parts) | dict(shipped=world_of('small').size))
    config = suited(config, parts)
    study, found = open_study(config.study, seed), []
    method = ContrastAttendDiffuse(method_part(config), Stages(folder, say), parts, 'cpu', False)
    start = time.time()
    encoder, (codec, prior) = method.attend(study, seed), method.imagine(study, seed)
    pairs, test, labels = study.pairs(), study.tested(config.study.singles), prior.labels
    others = method.without(study, seed)
    honest = method.honest(others, prior, pairs)
    def looks(pictures): return labels.standardise(seen_of(encode(codec, pictures), pictures))
    y, shown = looks(pairs.pictures[:]), looks(test.shown)[:, :labels.mean.shape[1]].flatten(1).double().numpy()
    for bypass in (False, True):
        for name, kind in KINDS.items():
            reader = kind.from_prior(encoder, labels, seed, bypass)
            out = fit_readout(reader, pairs.x, y, pairs.groups, seed=seed, device='cpu', tokens=honest if name == 'cross-fitted' else None)
            true = y[:, :out.shape[1]]
            held = 1 - float((out[:, :labels.mean.shape[1]] - true[:, :labels.mean.shape[1]]).square().mean()/true.var())
            row = dict(world=seed, code=name, bypass=bypass, held_r2=round(held, 4))
            row |= {k: read_scores(Pipe(reader), p, t, shown)
                    for k, p, t in (('single', test.single, test.target_single), ('mean', test.mean, test.target))}
            found.append(row)
            say(f"world {seed} {'voxels too' if bypass else 'tokens':10s} {name:12s} held-out R2 {held:.3f}, "
                + ', '.join(f'{k} {np.mean(row[k][0]):.3f} {np.mean(row[k][1]):.3f}' for k in ('single', 'mean')))
    say(f'{time.time() - start:.0f} s')
    return found

def summed(rows):
    found = []
    for bypass in (False, True):
        own = [r for r in rows if r['bypass'] == bypass]
        base = {r['world']: r for r in own if r['code'] == 'as it is'}
        for name in KINDS:
            some = [r for r in own if r['code'] == name]
            found.append(dict(code=name, bypass=bypass, worlds=len(some), held_r2=[r['held_r2'] for r in some]) | gains(some, base))
    return found

def main():
    a = study_options(__doc__, [0, 1], 'honest', runs=True).parse_args()
    torch.set_num_threads(1)
    rows, keep = kept_rows(a.out)
    for seed in () if a.table else a.worlds:
        if not any(r['world'] == seed for r in rows):
            rows += one_world(seed, Path(a.runs)/f'world{seed}', lambda s: print(s, flush=True))
            keep()
    for r in summed(rows):
        print(f"{'voxels too' if r['bypass'] else 'tokens':10s} {r['code']:12s} {r['worlds']} worlds, held-out R2 {r['held_r2']} | " + gains_text(r))
    if a.fixture:
        Path(a.fixture).write_text(json.dumps(dict(rows=summed(rows)), indent=0) + '\n', encoding='utf-8')

if __name__ == '__main__':
    main()
