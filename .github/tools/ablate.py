"""What phases 1 and 2 are worth: every encoder, the same linear readout, held-out pictures (chapters 25 and 31).

    python .github/tools/ablate.py run OUT.jsonl                    everything, resumable: a finished row is not made again (about 90 min on one core)
    python .github/tools/ablate.py run OUT.jsonl --only noise       one part: losses, noise, rest, maps, longer, digits
    python .github/tools/ablate.py table OUT.jsonl nbs/fixtures/ablation.json   scores with paired intervals, as the chapters show them

Simulated brain `small` (1,024 voxels), worlds 0, 1 and 2: phase 1 on 2,400 resting samples and the training responses, phase 2
on 1,200 pairs of 150 categories, test on 50 pictures of 50 other categories. An encoder is judged by ridge from its tokens to a
look at the picture (12 Gabor energies and rgb on 8 x 8 places), penalties by folds of training categories, and by how often the
predicted look correlates best with the picture that was shown: among two, among fifty. Nothing is chosen on test pictures; the
training settings are those of `small` with more steps, fixed before the first scored run after
trials on validation categories of world 1, where those of `maps` were chosen too. One thread."""
import argparse, json, os, platform, time
from functools import lru_cache
from pathlib import Path

import numpy as np

BRAIN = dict(patch_size=32, dim=96, depth=2, heads=4, decoder_dim=48, decoder_depth=1, decoder_heads=4)
IMAGE = dict(patch=4, dim=64, depth=2, heads=4, decoder_dim=48, decoder_depth=1, decoder_heads=4, mlp_ratio=2.)
STEPS, TUNE, LABELLED, SINGLES = 300, 300, (50, 100, 300, 1200), 4
NAMES = 'random', 'mse', 'self', 'cross', 'documented', 'both + mse'

def tasks(): # part, settings; the order is the order of work
    for seed in range(3):
        for name in ('voxels', 'whitened by rest', *NAMES): yield 'losses', dict(seed=seed, name=name, tuned=name not in ('voxels', 'whitened by rest'))
    for noise in (.5, 1.):
        for seed in range(3):
            for name in ('voxels', 'whitened by rest', 'random', 'documented'): yield 'noise', dict(seed=seed, name=name, noise=noise, tuned=name == 'documented')
    for rest in ('none', 'other'):
        for seed in range(3): yield 'rest', dict(seed=seed, name='documented', rest=rest)
    for seed in range(3): yield 'maps', dict(seed=seed, name='documented', steps=1200, tied=False, tuned=True)   # ours: each patch its own maps
    for seed in range(3): yield 'longer', dict(seed=seed, name='documented', steps=1200)
    for seed in range(3):
        for name in ('voxels', 'random', 'mse', 'documented', 'both + mse'): yield 'digits', dict(seed=seed, name=name)

class World:
    "Data of one simulated world, and its ridge readout."
    def __init__(self, seed, noise):
        from visdec import sim
        from visdec.study import paired
        from visdec.recording import zscore
        from visdec.unet import look
        sim.NOISE = noise
        self.seed, rec = seed, sim.simulate('small', seed).zscored('run')
        self.x, self.pictures, _ = paired(rec, 'train')
        self.groups = rec.of('train').category
        rest = lambda who: zscore(sim.simulate_rest('small', seed, who), np.zeros(2400))
        self.rest = dict(own=rest('sub-01'), other=rest('sub-02'), none=np.zeros((0, 1024), np.float32))
        test = rec.of('test'); ids = np.unique(test.image_id)
        rows = [np.flatnonzero(test.image_id == i) for i in ids]
        self.single, self.mean = np.concatenate([test.x[r[:SINGLES]] for r in rows]), np.stack([test.x[r].mean(0) for r in rows])
        self.who = np.repeat(np.arange(len(ids)), SINGLES)
        see = lambda p: look(p, 8).flatten(1).numpy()
        y, t = see(self.pictures), see(np.stack([test.stimuli[i] for i in ids])); m, s = y.mean(0), np.maximum(y.std(0), .1*y.std(0).mean())
        self.y, self.t = (y - m)/s, (t - m)/s

    def judge(self, of, fit=None, n=None): # features of responses -> scores per picture; `fit` limits the readout's trials
        from visdec.metrics import correlations, n_way
        from visdec.ridge import ridge_features
        few = np.arange(len(self.x)) if fit is None else fit
        if n: few = few[np.sort(np.random.default_rng([self.seed, n]).permutation(len(few))[:n])]
        m = ridge_features(of(self.x[few]), self.y[few], self.groups[few], seed=self.seed)
        out = {}
        for kind, x, who in (('single', self.single, self.who), ('mean', self.mean, np.arange(len(self.t)))):
            p = m.predict(of(x)); c = correlations(p, self.t)
            per = lambda s: np.bincount(who, s)/np.bincount(who)
            out[kind] = dict(two=per(n_way(c, who, 2)).round(5).tolist(), fifty=per(n_way(c, who, len(self.t))).round(5).tolist(), r2=round(float((1 - ((p - self.t[who])**2).sum(0)/(self.t[who]**2).sum(0)).mean()), 4))
        return out

def tokens_of(model):
    from visdec.pretrain import encoded
    return lambda x: encoded(model, x)

def make(name, x, seed, steps, sizes=BRAIN, bs=128, lr=1e-3):
    from visdec.contrast import DCMAE, loss_weights
    from visdec.mae import fresh
    from visdec.pretrain import pretrain
    from visdec.train import TrainConfig
    if name == 'random': return fresh(DCMAE, {'n_voxels': x.shape[1], **sizes}, seed, 'pretrain').eval()
    return pretrain(x, sizes | loss_weights(name), TrainConfig(steps=steps, bs=bs, lr=lr, warmup=20), seed=seed, progress=False, device='cpu').model

def tuned(model, world, few, image):
    from visdec.attend import tune
    from visdec.train import TrainConfig
    return tune(model, image, world.x[few], world.pictures[few], TrainConfig(steps=TUNE, bs=64, lr=5e-4), layers=2, seed=world.seed, progress=False, device='cpu').model.brain.eval()

world = lru_cache(1)(World)

@lru_cache(1)
def image_of(seed): # the picture model of a world
    from visdec import sim
    from visdec.image_mae import train_image_mae
    from visdec.train import TrainConfig
    return train_image_mae(sim.prior_pictures('small', seed)[0], IMAGE, TrainConfig(steps=200, bs=64, lr=1.5e-3), seed=seed, progress=False, device='cpu').model

def simulated(seed, name, noise=2., rest='own', steps=STEPS, tied=True, tuned_too=False):
    w = world(seed, noise)
    rows, every = [], np.arange(len(w.x))
    half = every[np.isin(w.groups, np.unique(w.groups)[::2])]; other = np.setdiff1d(every, half)
    def score(of, **about): rows.append(about | dict(scores={n: w.judge(of, n=n) for n in LABELLED[:-1]} | {1200: w.judge(of), 'half': w.judge(of, other)}))
    if name == 'voxels': score(lambda x: x, phase=0); return rows
    if name == 'whitened by rest':
        value, vector = np.linalg.eigh(w.rest['own'].T @ w.rest['own']/len(w.rest['own']))
        turn = (vector/np.sqrt(value + value.mean())).astype(np.float32)
        score(lambda x: x @ turn, phase=0); return rows
    model = make(name, np.concatenate([w.rest[rest], w.x]), seed, steps, BRAIN | ({} if tied else dict(tied=False)), lr=1e-3 if tied else 2e-3)
    of = tokens_of(model); score(of, phase=1)
    rows[-1]['scores']['beside voxels'] = w.judge(lambda x: np.concatenate([of(x), x], 1))
    if tuned_too:
        image = image_of(seed)
        of = tokens_of(tuned(model, w, every, image))
        rows.append(dict(phase=2, scores={1200: w.judge(of), 'beside voxels': w.judge(lambda x: np.concatenate([of(x), x], 1))}))
        of = tokens_of(tuned(model, w, half, image))                                   # tuned on one half of the categories, read out on the other
        rows[-1]['scores']['half'] = w.judge(of, other)
    return rows

def digits(seed, name):
    from visdec.study import best_voxels, paired
    from visdec.digits import digits69_path, load_digits69
    from visdec.metrics import correlations, n_way
    from visdec.ridge import ridge_features
    rec = load_digits69(digits69_path()).zscored('train')
    rec = rec.take(voxels=best_voxels(rec, 1024))
    x, y, _ = paired(rec, 'train'); t, shown, _ = paired(rec, 'test')
    of = (lambda x: x) if name == 'voxels' else tokens_of(make(name, x, seed, STEPS, bs=45))
    flat = lambda p: p.mean(-1).reshape(len(p), -1)/255
    m = ridge_features(of(x), flat(y), seed=seed); p = m.predict(of(t)); c = correlations(p, flat(shown)); own = np.arange(len(t))
    return [dict(phase=0 if name == 'voxels' else 1, scores={'90': {'single': dict(two=n_way(c, own, 2).tolist(), ten=n_way(c, own, len(t)).tolist(), pcc=np.diag(c).round(5).tolist())}})]

def run(out, only):
    import torch
    torch.set_num_threads(1)
    done = {json.dumps(json.loads(l)['task'], sort_keys=True) for l in open(out)} if os.path.exists(out) else set()
    for part, s in tasks():
        task = dict(part=part, **s)
        if only and part != only or json.dumps(task, sort_keys=True) in done: continue
        start = time.time(); kw = {k: v for k, v in s.items() if k != 'tuned'}
        rows = digits(**kw) if part == 'digits' else simulated(**kw, tuned_too=s.get('tuned', False))
        with open(out, 'a') as f: f.write(json.dumps(dict(task=task, rows=rows, seconds=round(time.time() - start))) + '\n')
        print(task, f'{time.time() - start:.0f} s', {r['phase']: {k: (v['single'].get('r2'), round(np.mean(v['single']['two']), 3)) for k, v in r['scores'].items()} for r in rows}, flush=True)

def table(out, to):
    "Means over worlds, and differences from raw voxels for the same pictures with 95 % bootstrap intervals."
    from visdec.stats import interval
    lines = [json.loads(l) for l in open(out)]
    cells = {}                                              # (part, settings without seed, phase, labelled, kind) -> {seed: scores}
    for line in lines:
        t = dict(line['task']); seed, part = t.pop('seed'), t.pop('part'); t.pop('tuned', None)
        for row in line['rows']:
            for n, kinds in row['scores'].items():
                for kind, s in kinds.items(): cells.setdefault((part, json.dumps(t, sort_keys=True), row['phase'], n, kind), {})[seed] = s
    rows = []
    for (part, t, phase, n, kind), by_seed in cells.items():
        t = json.loads(t); same = dict(t, name='voxels'); same.pop('rest', None); same.pop('steps', None); same.pop('tied', None)
        base = cells[('digits' if part == 'digits' else 'noise' if 'noise' in t else 'losses', json.dumps(same, sort_keys=True), 0, n if n != 'beside voxels' else '1200', kind)]
        row = dict(part=part, **t, phase=phase, labelled=n, trials=kind, worlds=len(by_seed))
        for score in ('two', 'fifty', 'ten', 'pcc'):
            if score not in next(iter(by_seed.values())): continue
            each = lambda d: np.concatenate([d[s][score] for s in sorted(by_seed)]) if part != 'digits' else np.mean([d[s][score] for s in sorted(by_seed)], 0)
            own, gain = each(by_seed), each(by_seed) - each(base)
            i = interval(gain, seed=0) if gain.any() else None
            row[score] = dict(value=round(float(own.mean()), 4), gain=round(float(gain.mean()), 4), low=round(float(i.low), 4) if i else 0., high=round(float(i.high), 4) if i else 0.)
        if 'r2' in next(iter(by_seed.values())): row['r2'] = round(float(np.mean([s['r2'] for s in by_seed.values()])), 4)
        rows.append(row)
    import torch
    about = dict(script='.github/tools/ablate.py', date=time.strftime('%Y-%m-%d'), torch=torch.__version__, machine=platform.machine(), threads=1, minutes=round(sum(l['seconds'] for l in lines)/60),
                 steps=STEPS, tune=TUNE, pictures='50 test pictures of each world; digits: 10', singles=SINGLES)
    Path(to).parent.mkdir(exist_ok=True)
    Path(to).write_text('{"about": ' + json.dumps(about) + ',\n"rows": [\n' + ',\n'.join(json.dumps(r) for r in rows) + '\n]}\n')
    for r in rows: print(json.dumps(r))

if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('what', choices=('run', 'table')); p.add_argument('out'); p.add_argument('to', nargs='?'); p.add_argument('--only')
    a = p.parse_args()
    run(a.out, a.only) if a.what == 'run' else table(a.out, a.to)
