#!/usr/bin/env python3
"""Does a network of ours beat signal and noise told apart? Eleven serious attempts on the lifelike brain.

    python .github/tools/encoder_attempts.py --out attempts.json            # worlds 0 to 2; resumes by attempt
    python .github/tools/encoder_attempts.py --worlds 0 --attempts documented own-maps
    python .github/tools/encoder_attempts.py --table

Each attempt learns from 2,400 samples of rest and 1,200 training responses, without a label, and gives a code of a
response. Ridge reads looks (chapter 39) from the code with 100 and 300 labels, and from the code beside the separated
voxels. Settings were fixed before the first scored run; penalties are chosen by folds of the labelled trials.

  documented      DC-MAE as the preset `small`, 400 steps                   (phase 1)
  longer          the same, 1,600 steps
  wider           three times as wide, 400 steps
  own-maps        a map for each patch (chapter 23), squared error, 1,200 steps
  residual        what that one cannot guess: x minus each patch guessed from all others
  whitened        DC-MAE on whitened responses (`brain.input=whitened`, chapter 25), 800 steps
  from-noise      a network that takes real rest out again: x + rest -> x, 1,600 steps; its guess is the code
  signal-weighted the same with errors counted in the separated space, where signal is
  signal-targets  DC-MAE as documented, 400 steps; errors and likeness counted in the separated space (chapter 25)
  own-maps-signal a map for each patch, squared error counted there, 1,200 steps
  network-reader  no code: a small network reads looks from separated responses, with rest added as noise"""
import argparse, json, sys, time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2])), sys.path.insert(0, str(Path(__file__).resolve().parent))
from separate_study import gains, identified, looks
from visdec.contrast import loss_weights
from visdec.core import atomic_file, rng
from visdec.pretrain import encoded, pretrain, unguessed
from visdec.ridge import ridge_features
from visdec.separate import rest_noise, separated, whitened
from visdec.study import StudyConfig, open_study, paired
from visdec.train import TrainConfig

BRAIN = dict(patch_size=32, dim=96, depth=2, heads=4, decoder_dim=48, decoder_depth=1, decoder_heads=4)
LABELS, SINGLE = (100, 300), 4

class World:
    def __init__(self, seed):
        study = open_study(StudyConfig(world='small', val_share=0, brain='lifelike'), seed)
        self.seed, test = seed, study.rec.of('test')
        self.x, pictures, _ = paired(study.rec, 'train')
        self.category, ids = study.rec.of('train').category, np.unique(test.image_id)
        rows = [np.flatnonzero(test.image_id == i) for i in ids]
        self.single = test.x[np.concatenate([r[:SINGLE] for r in rows])]
        self.mean = np.stack([test.x[r].mean(0) for r in rows])
        y, known = looks(pictures)
        self.y, self.true = y.astype(np.float32), looks(np.stack([test.stimuli[i] for i in ids]), known)[0]
        self.rest, noise = np.asarray(study.rest), rest_noise(study.noise, self.x)
        self.noise = noise.astype(np.float32)
        self.white, self.apart = whitened(noise, self.x), separated(noise, self.x)
    def few(self, n): return np.sort(rng(self.seed, 'few labels', n).permutation(len(self.x))[:n])
    def judge(self, read):
        "Scores of a reader: (trial, voxel) -> looks."
        return dict(single=identified(read(self.single), self.true, np.repeat(np.arange(50), SINGLE)),
                    mean=identified(read(self.mean), self.true, np.arange(50)))
    def of_code(self, code, n):
        few = self.few(n)
        x = code(self.x[few])
        low, size = x.mean(0), x.std(0).mean()*np.sqrt(x.shape[1]/1024)    # as long as 1,024 z-scores
        fit = ridge_features((x - low)/size, self.y[few], self.category[few])
        return self.judge(lambda v: fit.predict((code(v) - low)/size)) | dict(r2=float(fit.r2.mean()))

def trained(w, x, sizes, steps, lr=1e-3, **how):
    config = TrainConfig(steps=steps, bs=128, lr=lr, warmup=20)
    return pretrain(x, BRAIN | loss_weights('documented') | sizes, config, seed=w.seed, progress=False, device='cpu', **how).model.eval()

def own_maps(w):
    if not hasattr(w, 'maps'):
        both = np.concatenate([w.rest, w.x])
        w.maps = trained(w, both, dict(tied=False) | loss_weights('mse'), 1200, 2e-3)
    return w.maps

def denoiser(w, turn=None, steps=1600, dim=384):
    "A network that guesses a response from itself with real rest added."
    torch.manual_seed(w.seed)
    nn, v = torch.nn, w.x.shape[1]
    net = nn.Sequential(nn.Linear(v, dim), nn.GELU(), nn.Dropout(.1), nn.Linear(dim, dim), nn.GELU(), nn.Linear(dim, v))
    opt = torch.optim.AdamW(net.parameters(), 2e-3, weight_decay=.05)
    plan = torch.optim.lr_scheduler.OneCycleLR(opt, 2e-3, total_steps=steps)
    x, noise, g = torch.tensor(w.x), torch.tensor(w.noise), torch.Generator().manual_seed(w.seed)
    turn = None if turn is None else torch.tensor(turn)
    for _ in range(steps):
        clean = x[torch.randint(len(x), (128,), generator=g)]
        error = net(clean + noise[torch.randint(len(noise), (128,), generator=g)]) - clean
        loss = (error if turn is None else error @ turn).square().mean()
        opt.zero_grad(), loss.backward(), opt.step(), plan.step()
    net.eval()
    def code(v):
        with torch.no_grad():
            return net(torch.tensor(np.asarray(v, np.float32))).numpy()
    return code

def reader(w, n, steps=600, dim=512):
    "A network from separated responses to looks, with rest added as noise; mean of three."
    few, made = w.few(n), []
    turn = torch.tensor(w.apart.turn)
    x, noise, y = torch.tensor(w.x[few]), torch.tensor(w.noise), torch.tensor(w.y[few])
    for seed in range(3):
        torch.manual_seed(seed)
        nn, g = torch.nn, torch.Generator().manual_seed(seed)
        net = nn.Sequential(nn.Dropout(.2), nn.Linear(turn.shape[1], dim), nn.GELU(), nn.Dropout(.5), nn.Linear(dim, y.shape[1]))
        opt = torch.optim.AdamW(net.parameters(), 1e-3, weight_decay=.3)
        plan = torch.optim.lr_scheduler.OneCycleLR(opt, 1e-3, total_steps=steps)
        for _ in range(steps):
            i = torch.randint(len(x), (64,), generator=g)
            loud = x[i] + .5*noise[torch.randint(len(noise), (64,), generator=g)]
            loss = (net(loud @ turn) - y[i]).square().mean()
            opt.zero_grad(), loss.backward(), opt.step(), plan.step()
        made.append(net.eval())
    def read(v):
        with torch.no_grad():
            seen = torch.tensor(np.asarray(v, np.float32)) @ turn
            return np.mean([m(seen).numpy() for m in made], 0)
    return read

def codes(w):
    both = np.concatenate([w.rest, w.x])
    def tokens(sizes, steps, x=both, **how):
        model = trained(w, x, sizes, steps, **how)
        return lambda v: encoded(model, np.asarray(v, np.float32))
    in_task = np.concatenate([w.noise, w.x])
    return {'documented': lambda: tokens({}, 400), 'longer': lambda: tokens({}, 1600),
            'wider': lambda: tokens(dict(dim=288), 400),
            'own-maps': lambda: (lambda v: encoded(own_maps(w), np.asarray(v, np.float32))),
            'residual': lambda: (lambda v: unguessed(own_maps(w), np.asarray(v, np.float32))),
            'whitened': lambda: tokens({}, 800, in_task, through=w.white.turn),
            'from-noise': lambda: denoiser(w), 'signal-weighted': lambda: denoiser(w, w.apart.turn),
            'signal-targets': lambda: tokens({}, 400, turn=w.apart.turn),
            'own-maps-signal': lambda: tokens(dict(tied=False) | loss_weights('mse'), 1200, lr=2e-3, turn=w.apart.turn)}

def summed(rows):
    "One row for each (attempt, labels): value, gain over separated and its 95 % interval, over worlds and pictures."
    found = []
    for n in LABELS:
        base = {r['world']: r for r in rows if (r['attempt'], r['labels']) == ('separated', n)}
        for name in dict.fromkeys(r['attempt'] for r in rows):
            own = [r for r in rows if (r['attempt'], r['labels']) == (name, n)]
            found.append(dict(attempt=name, labels=n, worlds=len(own), seconds=own[0].get('seconds')) | gains(own, base))
    return found

def table(rows):
    for r in summed(rows):
        cells = (f"{v['value']:.3f} {v['gain']:+.3f} [{v['low']:+.3f} {v['high']:+.3f}]"
                 for t in ('single', 'mean') for v in r[t].values())
        print(f"{r['labels']:4d} {r['attempt']:28s} {r['worlds']} worlds | " + ' | '.join(cells))

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--worlds', type=int, nargs='+', default=[0, 1, 2])
    p.add_argument('--attempts', nargs='+', default=None)
    p.add_argument('--out', default='attempts.json')
    p.add_argument('--table', action='store_true')
    p.add_argument('--fixture', help='write the summed table there, as chapter 26 reads it; attempts that it holds already and that were not made here stay')
    a = p.parse_args()
    out = Path(a.out)
    rows = json.loads(out.read_text()) if out.exists() else []
    def keep(new):
        rows.extend(new)
        with atomic_file(out) as tmp:
            tmp.write_text(json.dumps(rows), encoding='utf-8')
        for r in new:
            two, fifty = (np.mean(v) for v in r['single'])
            print(f"world {r['world']} {r['labels']:4d} {r['attempt']:28s} two-way {two:.3f} fifty {fifty:.3f}"
                  f" mean {np.mean(r['mean'][0]):.3f} r2 {r.get('r2', np.nan):.3f}", flush=True)
    for seed in () if a.table else a.worlds:
        done, w = {r['attempt'] for r in rows if r['world'] == seed}, World(seed)
        def row(name, n, found): return dict(world=seed, attempt=name, labels=n) | found
        simple = dict(voxels=lambda v: v, whitened_by_rest=lambda v: v @ w.white.turn, separated=lambda v: v @ w.apart.turn)
        for name, code in simple.items():
            if name not in done:
                keep([row(name, n, w.of_code(code, n)) for n in LABELS])
        for name, make in codes(w).items():
            if name in done or a.attempts and name not in a.attempts:
                continue
            start, code = time.time(), make()
            seconds = round(time.time() - start)
            beside = lambda v: np.concatenate([v @ w.apart.turn, code(v)/np.sqrt((code(w.x[:200])**2).sum(1).mean()/1024)], 1)
            keep([row(name, n, w.of_code(code, n) | dict(seconds=seconds)) for n in LABELS]
                 + [row(f'{name} beside separated', n, w.of_code(beside, n)) for n in LABELS])
        if 'network-reader' not in done and (not a.attempts or 'network-reader' in a.attempts):
            keep([row('network-reader', n, w.judge(reader(w, n))) for n in LABELS])
    table(rows)
    if a.fixture:
        kept = json.loads(Path(a.fixture).read_text())['rows'] if Path(a.fixture).exists() else []
        simple = {'voxels', 'whitened_by_rest', 'separated'} & {r['attempt'] for r in kept}
        made = [r for r in summed(rows) if r['attempt'] not in simple]
        kept = [r for r in kept if r['attempt'] not in {m['attempt'] for m in made}]
        both = sorted(kept + made, key=lambda r: r['labels'])
        Path(a.fixture).write_text(json.dumps(dict(brain='lifelike', rows=both), indent=0) + '\n', encoding='utf-8')

if __name__ == '__main__':
    main()
