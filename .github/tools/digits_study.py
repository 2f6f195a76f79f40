#!/usr/bin/env python3
"""Digits 6/9 judged by nine folds inside the 90 training trials, and on the ten test pictures.

    python .github/tools/digits_study.py run --out digits                                  all folds and the test, three seeds
    python .github/tools/digits_study.py run --out digits --folds 0 1 test --seeds 0       some of them
    python .github/tools/digits_study.py run --out digits --control --folds 0 1            the control on shuffled pairs, too
    python .github/tools/digits_study.py table --out digits                                what is there, with intervals

One line of JSON in OUT/lines.jsonl for each fold and seed; a line that is there is not made again, and a training that was
stopped goes on. Everything is fitted anew in each fold: normalisation, voxels, warps, codec, error of the readings, prior.
The number of voxels is chosen by folds inside the fold's own training trials. Phases 1 and 2 are not trained here: with
warps nothing reads their tokens (chapter 47). Numbers are of a real brain; grey pictures of 28 x 28, SSIM with window 7."""
import argparse, json, time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from visdec.autoencoder import decode, encode
from visdec.cad import ContrastAttendDiffuse
from visdec.controls import Shuffled
from visdec.core import atomic_file, rng
from visdec.crossfit import cross_fit
from visdec.decode import consensus
from visdec.digits import digits69_path, load_digits69
from visdec.metrics import pcc, ssim
from visdec.pipeline import make_config, method_part
from visdec.ridge import MeanPicture, RidgeDecoder, fold_of
from visdec.study import best_voxels, open_study

N_FOLDS, WIDTHS = 9, (256, 512, 1024, 2048)
RECIPE = {'warp.each': '180', 'warp.turn': '.5', 'prior.steps': '4000', 'prior.bs': '32', 'finetune.steps': '0', 'repeats': '1',
          'sampling.steps': '12', 'sampling.samples': '24'}    # what --set changes; chapter 34 says what it reaches

def folds(category, seed=0):
    "Nine folds with the same share of sixes; dealt once, for all seeds of the trainings."
    out = np.empty(len(category), int)
    for c in np.unique(category):
        own = rng(seed, 'digits study', str(c)).permutation(np.flatnonzero(category == c))
        out[own] = np.arange(len(own)) % N_FOLDS
    return out

def record(name):
    "The raw trials of a fold, 'train' and 'test'; for 'test' the published split. No other trial is in it."
    raw = load_digits69(digits69_path())
    if name == 'test':
        return raw
    inner = raw.take(raw.split == 'train')
    inner.split = np.where(folds(inner.category) == int(name), 'test', 'train')
    inner.meta['dropped_voxels'] = []
    return inner

def width(raw, penalty):
    "Voxels to keep, by the squared error of pixels read in five folds of the training trials; chosen anew in each."
    train = raw.of('train')
    fold, error = fold_of(train.image_id, 5, 0), dict.fromkeys(WIDTHS, 0.)
    light = np.stack([train.stimuli[i] for i in train.image_id])[..., 0].reshape(len(train), -1)/255.
    for k in range(5):
        part = train.take()
        part.split = np.where(fold == k, 'test', 'train')
        z = part.zscored('train')
        place = best_voxels(z, max(WIDTHS))
        r = abs(np.corrcoef(z.of('train').x.T.astype(float)[place], light[fold != k].T[light[fold != k].std(0) > 0])[:len(place), len(place):]).max(1)
        order = place[np.argsort(-r, kind='stable')]
        for n in WIDTHS:
            x = torch.as_tensor(np.asarray(z.x[:, order[:n]])).double()
            read = cross_fit(x, torch.as_tensor(light), (fold == k).astype(int), (penalty*n,))[1]
            error[n] += float(((read.numpy() - light)[fold == k]**2).sum())
    return min(error, key=error.get), error

def grey(pictures): return np.asarray(pictures, np.float64).mean(-1)/255

def scores(pictures, shown):
    "PCC and SSIM of each picture, the mean over its samples; (picture, 2)."
    each = [np.stack([pcc(grey(p)[None].reshape(1, -1), grey(t)[None].reshape(1, -1)),
                      ssim(grey(p)[None], grey(t)[None])], 1)[0]
            for row, t in zip(pictures, shown) for p in row]
    return np.array(each).reshape(len(shown), -1, 2).mean(1)

def answers(method, test, samples, seed):
    "The three answers of a decoder."
    drawn = method.predict(test.mean, samples, seed)
    how = getattr(method, 'fitted', method)
    return dict(sample=drawn[:, :8], mean=drawn.mean(1, keepdims=True).round().astype(np.uint8),
                consensus=consensus(drawn, how.features))

def one(name, seed, args):
    start, raw = time.time(), record(name)
    config = make_config('small', 'digits69', seed=seed, changes=RECIPE | dict(s.split('=', 1) for s in args.set))
    n, error = width(raw, config.warp.penalty)
    place = args.out/f'{name}-{seed}'
    raw.save(place/'raw')
    study = open_study(replace(config.study, data='recording', path=str(place/'raw'), size=28, voxels=n), seed)
    none = replace(config.tune, steps=0)
    sizes = replace(method_part(config), pretrain=replace(config.pretrain, steps=0), tune=none, image_mae=none)
    test, samples = study.tested(1), config.sampling.samples
    shown = test.shown[test.target]
    how = dict(device=args.device, progress=False)
    method = ContrastAttendDiffuse(sizes, place, **how).fit(study, seed)
    fitted = time.time() - start
    rows = answers(method, test, samples, seed)
    whole = time.time() - start
    if args.control:
        control = Shuffled(ContrastAttendDiffuse(sizes, place, label='-shuffled', **how), seed).fit(study, seed)
        rows |= {f'shuffled, {k}': v for k, v in answers(control, test, samples, seed).items()}
    for row, other in (('ridge', RidgeDecoder()), ('mean picture', MeanPicture())):
        rows[row] = other.fit(study, seed).predict(test.mean, 1, seed)
    rows['codec'] = decode(method.codec, encode(method.codec, shown))[:, None]
    line = dict(fold=name, seed=seed, voxels=n, inner_error=error, seconds_fit=round(fitted), seconds=round(whole), ids=test.mean.image_id.tolist(),
                stages=method.stages.seconds, set=args.set, samples=samples, threads=torch.get_num_threads(),
                scores={k: scores(v, shown).round(4).tolist() for k, v in rows.items()})
    with atomic_file(place/'pictures.npz') as tmp, open(tmp, 'wb') as f:
        np.savez(f, shown=shown, **{k.replace(', ', '_').replace(' ', '_'): v for k, v in rows.items()})
    return line

def lines(out):
    file = out/'lines.jsonl'
    return [json.loads(s) for s in file.read_text().splitlines()] if file.exists() else []

def run(args):
    args.out.mkdir(parents=True, exist_ok=True)
    for seed in args.seeds:
        for name in args.folds:
            wanted = 'shuffled, mean' if args.control else 'mean'
            if any((s['fold'], s['seed']) == (name, seed) and wanted in s['scores'] for s in lines(args.out)):
                continue
            line = one(name, seed, args)
            with open(args.out/'lines.jsonl', 'a') as f:
                f.write(json.dumps(line) + '\n')
            print(name, seed, f"{line['voxels']} voxels, fit {line['seconds_fit']} s, with decoding {line['seconds']} s",
                  {k: np.mean(v, 0).round(3).tolist() for k, v in line['scores'].items()}, flush=True)

def table(args):
    "Means over pictures of the mean over seeds; 95 % by bootstrap over pictures."
    kept = {(s['fold'], s['seed']): s for s in lines(args.out)}
    for part, own in (('folds', [s for s in kept.values() if s['fold'] != 'test']), ('test', [s for s in kept.values() if s['fold'] == 'test'])):
        if not own:
            continue
        print(f"{part}: {sorted((s['fold'], s['seed']) for s in own)}; seconds {[s['seconds'] for s in own]}")
        for row in dict.fromkeys(k for s in own for k in s['scores']):
            pool = {}
            for s in own:
                for i, v in zip(s['ids'], s['scores'].get(row, ())):
                    pool.setdefault(i, []).append(v)
            value = np.array([np.mean(v, 0) for v in pool.values()])
            draw = rng(0, 'digits bootstrap').integers(len(value), size=(5000, len(value)))
            low, high = np.quantile(value[draw].mean(1), (.025, .975), axis=0)
            print(f'  {row:22s} ' + '   '.join(f'{n} {m:.3f} [{a:.3f} {b:.3f}]' for n, m, a, b in zip(('PCC', 'SSIM'), value.mean(0), low, high))
                  + f'   {len(value)} pictures')

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('what', choices=('run', 'table'))
    p.add_argument('--out', type=Path, required=True)
    p.add_argument('--folds', nargs='+', default=[*map(str, range(N_FOLDS)), 'test'], help="0 to 8, or 'test'")
    p.add_argument('--seeds', nargs='+', type=int, default=[0, 1, 2])
    p.add_argument('--control', action='store_true', help='fit on shuffled pairs, too')
    p.add_argument('--set', nargs='*', default=[], help='choices to change, such as prior.steps=400')
    p.add_argument('--device', default='cpu')
    args = p.parse_args()
    dict(run=run, table=table)[args.what](args)

if __name__ == '__main__':
    main()
