#!/usr/bin/env python3
"""Digits 6/9 judged by nine folds inside the 90 training trials, and on the ten test pictures.

    python .github/tools/digits_study.py run --out digits                                  all folds and the test, three seeds
    python .github/tools/digits_study.py run --out digits --folds 0 1 test --seeds 0       some of them
    python .github/tools/digits_study.py run --out digits --control --folds 0 1            the control on shuffled pairs, too
    python .github/tools/digits_study.py limit --out digits                                the readings' own limit: no training
    python .github/tools/digits_study.py table --out digits                                what is there, with intervals
    python .github/tools/digits_study.py store --out digits                                what is there, into nbs/fixtures

What `nbs/fixtures/digits_folds.json` holds counts as there, if this recipe made it: a later sitting goes on from it.

One line of JSON in OUT/lines.jsonl for each fold and seed; a line that is there is not made again, and a training that was
stopped goes on. Everything is fitted anew in each fold: normalisation, voxels, warps, codec, error of the readings, prior.
Voxels are chosen by the fold's own training trials. A codec serves three folds and has seen pictures of the six others only.
Warps, codecs, readings and library have one seed, BASE; the seeds of --seeds draw the samples. Phases 1 and 2 are not
trained here: with warps nothing reads their tokens (chapter 47). Numbers are of a real brain; grey pictures of 28 x 28, SSIM
with window 7."""
import argparse, hashlib, json, platform, time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import visdec.look

from diffusers import VQModel

from visdec.autoencoder import decode, encode, train_codec
from visdec.cad import ContrastAttendDiffuse, Parts
from visdec.controls import Shuffled
from visdec.core import atomic_file, rng
from visdec.crossfit import FOLDS, ROUNDS, averaged_ridge, cross_fit
from visdec.decode import consensus
from visdec.digits import digits69_path, load_digits69
from visdec.look import look
from visdec.metrics import pcc, ssim
from visdec.pipeline import make_config, method_part
from visdec.ridge import MeanPicture, RidgeDecoder, fold_of
from visdec.sampler import agreement, compromise
from visdec.study import best_voxels, open_study
from visdec.warps import explained, principal, reading_error, three_spaces, warp

FIXTURE = Path(__file__).resolve().parents[2]/'nbs'/'fixtures'/'digits_folds.json'
N_FOLDS, WIDTHS = 9, (256, 512, 1024, 2048)
RECIPE = {'warp.each': '180', 'warp.turn': '.5', 'warp.spaces': 'three', 'warp.excess': '2', 'denoiser.kind': 'library',
          'latent.saturate': 'True', 'codec_warm.steps': '1080', 'codec.steps': '1320', 'codec_warm.bs': '16', 'codec.bs': '16',
          'finetune.steps': '0', 'repeats': '1', 'sampling.steps': '12', 'sampling.samples': '256'}
# what --set changes; chapter 34 says what it reaches. Lines of other recipes do not count
MADE_BY = hashlib.md5(json.dumps(RECIPE, sort_keys=True).encode()).hexdigest()[:8]
BASE = 0        # seed of warps, codec, readings and library; --seeds are those of phase 3 and of the samples

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

def group(name):
    "The three folds whose pictures a codec of this fold has not seen; of the test pictures none has seen any."
    return 0 if name == 'test' else int(name)//3

def shared_codec(name, config, out, device):
    "A codec for three folds, made of warps of the pictures of the six others: a third of the trainings, and no leak."
    place = out/f'codec-{group(name)}'
    if not (place/'config.json').exists():
        inner = record('test')
        inner = inner.take(inner.split == 'train')
        inner = inner.take(folds(inner.category)//3 != group(name))
        names = list(dict.fromkeys(inner.image_id))
        pictures = warp(np.stack([inner.stimuli[i] for i in names]), names, config.warp, BASE)[0]
        train_codec(pictures, config.latent.sizes(28), config.codec, config.codec_warm, seed=BASE,
                    progress=False, device=device, saturate=config.latent.saturate).model.save_pretrained(place)
    return VQModel.from_pretrained(place).eval()

class Remembered:
    "Looks, made once for each picture: a warp is the same picture in every fold."
    def __init__(self, make): self.make, self.found = make, {}
    def __call__(self, images, places):
        keys = [(places, hashlib.md5(p.tobytes()).digest()) for p in images]
        if new := {k: i for i, k in enumerate(keys) if k not in self.found}:
            self.found |= zip(new, self.make(images[list(new.values())], places))
        return torch.stack([self.found[k] for k in keys])

def scores(pictures, shown):
    "PCC and SSIM of each picture, the mean over its samples; (picture, 2)."
    each = [np.stack([pcc(grey(p)[None].reshape(1, -1), grey(t)[None].reshape(1, -1)),
                      ssim(grey(p)[None], grey(t)[None])], 1)[0]
            for row, t in zip(pictures, shown) for p in row]
    return np.array(each).reshape(len(shown), -1, 2).mean(1)

def answers(method, test, samples, seed):
    "The answers of a decoder."
    drawn = method.predict(test.mean, samples, seed)
    how = getattr(method, 'fitted', method)
    light = drawn.mean(-1, keepdims=True).round().astype(np.uint8)         # the pictures are grey
    return dict(sample=drawn[:, :8], mean=drawn.mean(1, keepdims=True).round().astype(np.uint8),
                consensus=consensus(drawn, how.features), compromise=compromise(light))

def one(name, seed, args):
    start, raw = time.time(), record(name)
    config = make_config('small', 'digits69', seed=seed, changes=RECIPE | dict(s.split('=', 1) for s in args.set))
    n, error = width(raw, config.warp.penalty) if config.warp.spaces == 'looks' else (0, {})    # three spaces choose voxels themselves
    place = args.out/name
    raw.save(place/'raw')
    study = open_study(replace(config.study, data='recording', path=str(place/'raw'), size=28, voxels=n), seed)
    none = replace(config.tune, steps=0)
    sizes = replace(method_part(config), pretrain=replace(config.pretrain, steps=0), tune=none, image_mae=none)
    test, samples = study.tested(1), config.sampling.samples
    shown = test.shown[test.target]
    how = dict(parts=Parts(codec=shared_codec(name, sizes, args.out, args.device)), device=args.device, progress=False, base_seed=BASE)
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
    line = dict(fold=name, seed=seed, recipe=MADE_BY, voxels=n, inner_error=error, seconds_fit=round(fitted), seconds=round(whole), ids=test.mean.image_id.tolist(),
                stages=method.stages.seconds, set=args.set, samples=samples, threads=torch.get_num_threads(), processor=processor(),
                scores={k: scores(v, shown).round(4).tolist() for k, v in rows.items()})
    with atomic_file(place/f'pictures-{seed}.npz') as tmp, open(tmp, 'wb') as f:
        np.savez(f, shown=shown, **{k.replace(', ', '_').replace(' ', '_'): v for k, v in rows.items()})
    return line

def processor():
    "What computes here, in words."
    info = Path('/proc/cpuinfo')
    names = [s.split(':')[1].strip() for s in info.read_text().splitlines() if s.startswith('model name')] if info.exists() else []
    return names[0] if names else platform.processor()

def stored(part):
    "Lines of the fixture: 'runs' or 'limits'."
    return json.loads(FIXTURE.read_text())[part] if FIXTURE.exists() else []

def lines(out, part='runs'):
    "What is there: of the fixture first, then of the folder."
    file = out/dict(runs='lines.jsonl', limits='limit.jsonl')[part]
    found = stored(part) + ([json.loads(s) for s in file.read_text().splitlines()] if file.exists() else [])
    return [s for s in found if part == 'limits' or s.get('recipe') == MADE_BY]

def store(args):
    "Everything that is there, without pictures, into the fixture."
    kept = {(s['fold'], s['seed'], *s['set']): s for s in lines(args.out)}
    limits = {(s['fold'], *kind(s)): s for s in lines(args.out, 'limits')}
    text = [',\n  '.join(json.dumps(s) for s in part.values()) for part in (kept, limits)]
    FIXTURE.write_text('{"runs": [\n  %s],\n "limits": [\n  %s]}\n' % tuple(text))

# ---- the readings' own limit: warps weighted by how well they explain what is read of a test response
SPACES = 'pixels, distance, Gabor'
DESIGNS = {'looks': dict(spaces=('look',), counts=(512,), rounds=ROUNDS),
           SPACES: dict(spaces=('pixels', 'distance', 'Gabor'), counts=(400, 800, 1600), rounds=2)}
LIMITS = (('looks', 1.15, 32), ('looks', 2., 32), (SPACES, 2., 32), (SPACES, 2., 128))    # design, excess of the error, draws

def spaces(pictures):
    "Pictures in four ways, (picture, feature) each."
    seen = look(pictures, 7)
    return dict(zip(('pixels', 'distance', 'Gabor'), three_spaces(pictures, seen[:, :12])), look=seen.flatten(1))

def read_by(x, y, new, light, counts, penalty):
    "Ridge readings, the mean over numbers of voxels; these are chosen on the trials that teach."
    weight, bias = averaged_ridge(torch.as_tensor(x).double(), y, torch.as_tensor(light), penalty, counts)
    return torch.as_tensor(new).double() @ weight.T + bias

def kind(line):
    "What a line of the limits is of."
    return line['design'], line['excess'], line['draws']

def limit_of(name, world, out, asked=LIMITS):
    "The lines of one fold; `world` holds warps and features of all 90 pictures, of which a fold takes its own."
    raw = record(name)
    raw.save(out/f'limit-{name}')
    config = make_config('small', 'digits69', seed=0, changes=RECIPE)
    study = open_study(replace(config.study, data='recording', path=str(out/f'limit-{name}'), size=28, voxels=0), 0)
    pairs, test = study.pairs('train'), study.tested(1)
    own = np.array([world['names'].index(n) for n in pairs.pictures.names])
    kept, shown, seen = np.isin(world['source'], own), pairs.pictures[:], test.shown[test.target]
    place = torch.as_tensor([np.flatnonzero((world['pictures'] == p).all((1, 2, 3)))[0] for p in shown])
    x, new, light = np.asarray(pairs.x), np.asarray(test.mean.x), shown[..., 0].reshape(len(shown), -1)/255.
    bank, c = world['warps'][kept], config.warp
    plain = read_by(x, torch.as_tensor(light).double(), new, light, (512,), c.penalty).numpy().clip(0, 1)
    plain = np.repeat((255*plain).round().astype(np.uint8).reshape(-1, 1, *bank.shape[1:3], 1), 3, -1)
    for design, excess, draws in asked:
        how, parts = DESIGNS[design], []
        for space in how['spaces']:
            many, few = world['many'][space][torch.as_tensor(kept)], world['few'][space][place]
            low, size = many.mean(0), many.std(0)
            size = size.clamp(min=.1*size.mean()) if design == 'looks' else size.mean()
            axes = principal((many - low)/size, c.n_components)
            parts.append((((many - low)/size) @ axes, ((few - low)/size) @ axes))
        true, y = (torch.cat(p, 1) for p in zip(*parts))
        y, held = y.double(), []
        for i in range(how['rounds']):
            fold, said = fold_of(pairs.groups, FOLDS, i), torch.empty_like(y)
            for k in range(FOLDS):
                own = fold != k
                said[torch.as_tensor(~own)] = read_by(x[own], y[torch.as_tensor(own)], x[~own], light[own], how['counts'], c.penalty)
            held.append(said.float())
        error = reading_error(y.float(), torch.cat(held), c.shrink)
        weight = explained(read_by(x, y, new, light, how['counts'], c.penalty).float(), true, error, excess).softmax(1)
        drawn = bank[torch.multinomial(weight, draws, True, generator=torch.Generator().manual_seed(0)).numpy()]
        mean = weight @ torch.as_tensor(bank.reshape(len(bank), -1)).float()
        rows = dict(sample=drawn[:, :8], mean=mean.round().numpy().astype(np.uint8).reshape(len(mean), 1, *bank.shape[1:]),
                    medoid=np.stack([r[most_agreeing(r)][None] for r in drawn[:, :16]]), compromise=compromise(drawn), ridge=plain)
        yield dict(fold=name, design=design, excess=excess, draws=draws, ids=test.mean.image_id.tolist(),
                   effective=(1/weight.square().sum(1)).round().tolist(),
                   scores={k: scores(v, seen).round(4).tolist() for k, v in rows.items()})

def most_agreeing(pictures):
    "The place of the picture that agrees with the others most."
    light = torch.as_tensor(pictures/255.).float().permute(0, 3, 1, 2)
    return int(agreement(light, light).sum(1).argmax())

def limit(args):
    "What the readings know, were the prior perfect: no codec and no network, only warps and their weights."
    args.out.mkdir(parents=True, exist_ok=True)
    record('test').save(args.out/'limit-all')
    config = make_config('small', 'digits69', seed=0, changes=RECIPE)
    study = open_study(replace(config.study, data='recording', path=str(args.out/'limit-all'), size=28, voxels=0), 0)
    pictures = study.pairs('train').pictures
    names, own = list(pictures.names), pictures.read(np.arange(len(pictures.names)))
    warps, source = warp(own, names, config.warp, 0)
    world = dict(names=names, pictures=own, warps=warps, source=source, many=spaces(warps), few=spaces(own))
    for name in args.folds:
        there = {kind(s) for s in lines(args.out, 'limits') if s['fold'] == name}
        asked = [one for one in LIMITS if one not in there]
        if name == 'test' or not asked:
            continue
        for line in limit_of(name, world, args.out, asked):
            with open(args.out/'limit.jsonl', 'a') as f:
                f.write(json.dumps(line) + '\n')
            print(name, *kind(line), {k: np.mean(v, 0).round(3).tolist() for k, v in line['scores'].items()}, flush=True)

def run(args):
    visdec.look.look = Remembered(look)
    args.out.mkdir(parents=True, exist_ok=True)
    for seed in args.seeds:
        for name in args.folds:
            wanted = 'shuffled, mean' if args.control else 'mean'
            if any((s['fold'], s['seed'], s['set']) == (name, seed, args.set) and wanted in s['scores'] for s in lines(args.out)):
                continue
            line = one(name, seed, args)
            with open(args.out/'lines.jsonl', 'a') as f:
                f.write(json.dumps(line) + '\n')
            print(name, seed, f"{line['voxels']} voxels, fit {line['seconds_fit']} s, with decoding {line['seconds']} s",
                  {k: np.mean(v, 0).round(3).tolist() for k, v in line['scores'].items()}, flush=True)

def pooled(rows):
    "Mean over seeds of each picture, then over pictures, with 95 % by bootstrap over pictures; (mean, low, high), pictures."
    pool = {}
    for ids, values in rows:
        for i, v in zip(ids, values):
            pool.setdefault(i, []).append(v)
    value = np.array([np.mean(v, 0) for v in pool.values()])
    draw = rng(0, 'digits bootstrap').integers(len(value), size=(5000, len(value)))
    return (value.mean(0), *np.quantile(value[draw].mean(1), (.025, .975), axis=0)), len(value)

def tell(title, own):
    "One block of the table."
    print(f"{title}: {sorted({(s['fold'], s.get('seed', 0)) for s in own})}")
    for row in dict.fromkeys(k for s in own for k in s['scores']):
        found, n = pooled((s['ids'], s['scores'][row]) for s in own if row in s['scores'])
        print(f'  {row:22s} ' + '   '.join(f'{k} {m:.3f} [{a:.3f} {b:.3f}]' for k, m, a, b in zip(('PCC', 'SSIM'), *found)) + f'   {n} pictures')

def table(args):
    "Runs by their settings, then limits by their design."
    for changes in dict.fromkeys(tuple(s['set']) for s in lines(args.out)):
        same = [s for s in lines(args.out) if tuple(s['set']) == changes]
        for part in ('folds', 'test'):
            if own := [s for s in same if (s['fold'] == 'test') == (part == 'test')]:
                tell(f"{part} {' '.join(changes)}; seconds {[s['seconds'] for s in own]}", own)
    for one in LIMITS:
        if own := [s for s in lines(args.out, 'limits') if kind(s) == one]:
            tell('limit of the readings, {}, excess {}, {} draws'.format(*one), own)

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('what', choices=('run', 'limit', 'table', 'store'))
    p.add_argument('--out', type=Path, required=True)
    p.add_argument('--folds', nargs='+', default=[*map(str, range(N_FOLDS)), 'test'], help="0 to 8, or 'test'")
    p.add_argument('--seeds', nargs='+', type=int, default=[0, 1, 2])
    p.add_argument('--control', action='store_true', help='fit on shuffled pairs, too')
    p.add_argument('--set', nargs='*', default=[], help='choices to change, such as prior.steps=400')
    p.add_argument('--device', default='cpu')
    args = p.parse_args()
    dict(run=run, limit=limit, table=table, store=store)[args.what](args)

if __name__ == '__main__':
    main()
