#!/usr/bin/env python3
"""What a space chosen by folds buys in the demo, down to the picture: the study behind the end of chapter 26.

    python .github/tools/demo_study.py --out demo.json               # worlds 0 to 2; about 4 min a fit on one free core; resumes
    python .github/tools/demo_study.py --worlds 0 --labels 100
    python .github/tools/demo_study.py --table --fixture nbs/fixtures/demo_space.json

The method as `visdec demo --preset small` trains it (shipped codec and prior), once with `conditioner.space=voxels` and
once with `chosen`, with all 1,080 training labels and with 100 of them; all training responses stay, without labels.
Three scores of each of 50 test pictures: look fifty-way and two-way among the pictures shown, and fifty-way by the
evaluator of kinds (chapter 51). Rows: looks that the readout tells, before anything is painted; and decoded pictures,
mean over samples. From single trials (two of each picture) and from the mean of 35. Nothing is chosen here."""
import json, sys, time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2])), sys.path.insert(0, str(Path(__file__).resolve().parent))
from separate_study import gains, gains_text, kept_rows, study_options
from visdec.cad import ContrastAttendDiffuse
from visdec.core import rng
from visdec.features import JUDGES, WorldEvaluator, kind_names, train_evaluator
from visdec.metrics import correlations, n_way
from visdec.parts import load_parts, suited
from visdec.pipeline import decoded, roster
from visdec.presets import make_config
from visdec.scores import category_score, look_identification
from visdec.sim import world_of
from visdec.stages import Stages, save_model
from visdec.study import open_study

SCORES = 'two', 'fifty'

def few_of(study, n, seed):
    "The same study with labels of n training trials alone."
    own = np.flatnonzero(study.rec.split == 'train')
    if not n:
        return study, len(own)
    kept = np.ones(len(study.rec), bool)
    kept[own] = False
    kept[own[np.sort(rng(seed, 'few labels', n).permutation(len(own))[:n])]] = True
    return study.with_rec(study.rec.take(kept)), n

def per_picture(values, target):
    return (np.bincount(target, values)/np.bincount(target)).round(4).tolist()

def read_scores(pipe, part, target, shown):
    "Two-way and n-way identification of the looks that a readout tells."
    told = pipe.conditioner.told
    with torch.no_grad():
        read = pipe.conditioner.read(torch.as_tensor(np.asarray(part.x, np.float32)))[:, :told.mean.shape[1]]
    c = correlations(read.flatten(1).double().numpy(), shown)
    return [per_picture(n_way(c, target, k), target) for k in (2, len(shown))]

def picture_scores(pictures, target, shown, scores):
    "Each score of each picture, mean over samples."
    found = []
    for s in scores:
        each = np.mean([s.of(pictures[:, k], shown)[np.arange(len(target)), target] for k in range(pictures.shape[1])], 0)
        found.append(per_picture(each, target))
    return found

def one_fit(seed, labels, space, folder, say):
    from visdec.autoencoder import encode
    from visdec.look import seen_of
    start = time.time()
    config = make_config('small', seed=seed, changes={'conditioner.space': space})
    parts, _ = load_parts(**asdict(config.parts) | dict(shipped=world_of('small').size))
    config, stages = suited(config, parts), Stages(folder, say)
    study, n = few_of(open_study(config.study, seed), labels, seed)
    entry = replace(roster(config, stages, parts, 'cpu', False)[0], samples=config.sampling.samples)
    test = study.tested(config.study.singles)
    pictures, method = decoded(entry, study, test, stages), entry.decoder
    assert isinstance(method, ContrastAttendDiffuse)
    told = method.pipe.conditioner.told
    seen = told.standardise(seen_of(encode(method.codec, test.shown).to('cpu'), test.shown))[:, :told.mean.shape[1]]
    seen, known = seen.flatten(1).double().numpy(), study.with_rec(study.seen).pairs().pictures[:]
    def make(out): return train_evaluator(study.world, seed, out, False, 'cpu', 'kind').model
    judge = stages(JUDGES['kind'], dict(world=study.world, seed=seed), make, save_model, WorldEvaluator.from_pretrained)
    kind = category_score(judge, kind_names(test.category, seed), min(50, len(judge.config.categories)), 'kind')
    judges = look_identification(known, 2), look_identification(known, len(test.shown)), kind
    row = dict(world=seed, labels=n, space=space, view=method.pipe.conditioner.config.view, kind_chance=kind.chance)
    for what, part, target in (('mean', test.mean, test.target), ('single', test.single, test.target_single)):
        row[f'read_{what}'] = read_scores(method.pipe, part, target, seen)
        row[f'picture_{what}'] = picture_scores(pictures[what], target, test.shown, judges)
    return row | dict(seconds=round(time.time() - start))

def summed(rows):
    "One line for each (labels, space): value, gain over voxels and its 95 % interval, over worlds and pictures."
    found = []
    for n in dict.fromkeys(r['labels'] for r in rows):
        own = [r for r in rows if r['labels'] == n]
        base = {r['world']: r for r in own if r['space'] == 'voxels'}
        for space in dict.fromkeys(r['space'] for r in own):
            some = [r for r in own if r['space'] == space]
            line = dict(labels=n, space=space, worlds=len(some), views=[r['view'] for r in some])
            for what in ('read', 'picture'):
                def of(r): return {k: r[f'{what}_{k}'] for k in ('single', 'mean')}
                line[what] = gains([r | of(r) for r in some], {w: b | of(b) for w, b in base.items()})
            def kind(r): return {k: [r[f'picture_{k}'][2]]*2 for k in ('single', 'mean')}
            line['kind'] = {k: v['two'] for k, v in gains([r | kind(r) for r in some],
                                                           {w: b | kind(b) for w, b in base.items()}).items()}
            line['averaging'] = {}
            for k in ('read', 'picture'):
                for j, score in enumerate(SCORES):
                    d = np.concatenate([np.subtract(r[f'{k}_mean'][j], r[f'{k}_single'][j]) for r in some])
                    boot = d[rng(0, 'boot').integers(len(d), size=(4000, len(d)))].mean(1)
                    ends = d.mean(), *np.quantile(boot, (.025, .975))
                    line['averaging'][f'{k} {score}'] = dict(zip(('gain', 'low', 'high'), np.round(ends, 4).tolist()))
            found.append(line)
    return found

def table(rows):
    for r in summed(rows):
        for what in ('read', 'picture'):
            print(f"{r['labels']:4d} {r['space']:7s} {r['worlds']} worlds {what:8s}| " + gains_text(r[what]))
        print('     kind', r['kind'], '\n     averages minus single trials', r['averaging'], r['views'])

def main():
    p = study_options(__doc__, [0, 1, 2], 'demo', runs=True)
    p.add_argument('--labels', type=int, nargs='+', default=[0, 100], help='0: all')
    p.add_argument('--spaces', nargs='+', default=['voxels', 'chosen'])
    a = p.parse_args()
    torch.set_num_threads(1)
    rows, keep = kept_rows(a.out)
    for labels in () if a.table else a.labels:
        for seed in a.worlds:
            for space in a.spaces:
                if any((r['world'], r['asked'], r['space']) == (seed, labels, space) for r in rows):
                    continue
                rows.append(one_fit(seed, labels, space, Path(a.runs)/f'world{seed}', None) | dict(asked=labels))
                keep()
                r = rows[-1]
                print(f'world {seed} {r["labels"]} {space}: {r["view"]}, {r["seconds"]} s',
                      {k: [round(float(np.mean(v)), 3) for v in r[k]] for k in r if k.startswith(('read', 'pict'))}, flush=True)
    table(rows)
    if a.fixture:
        about = dict(what='the demo at small, with and without a space chosen by folds', repeats=35, single_trials=2,
                     chance=dict(two=.5, fifty=.02, kind=rows[0]['kind_chance']), rows=summed(rows))
        Path(a.fixture).write_text(json.dumps(about, indent=0) + '\n', encoding='utf-8')

if __name__ == '__main__':
    main()
