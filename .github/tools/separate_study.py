#!/usr/bin/env python3
"""What rest is good for, on three worlds and along the dial: the study behind chapter 26.

    python .github/tools/separate_study.py                    # all, about 40 min of one core; resumes
    python .github/tools/separate_study.py --worlds 1 --brains plain --labels 100
    python .github/tools/separate_study.py --table            # print what was found so far

Each cell of the table is one (world, brain, number of labels): ridge to looks (chapter 39) from voxels, the half of
them that is chosen, whitened, separated, and the one that folds of the labelled trials choose. The spaces are made
from rest and from all 1,200 training responses, of which only so many are labelled; `own` uses the labelled ones alone.
Scores: two-way and fifty-way identification of 50 test pictures of new categories, from 4 single trials each and from
the mean of 35. What is stored are the scores of every picture, so that differences are paired. Nothing is chosen here:
brains, labels, spaces and penalties stand above or are chosen by folds inside the labelled trials."""
import argparse, json, sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from visdec.core import atomic_file, rng
from visdec.look import look
from visdec.metrics import correlations, n_way
from visdec.ridge import ridge_features
from visdec.separate import choose_space, rest_noise, selected, separated, voxels, whitened
from visdec.sim import BRAINS, Brain
from visdec.study import StudyConfig, open_study, paired

LIFE = BRAINS['lifelike']
DIAL = {f'dial {e:g}': Brain(LIFE.compress, LIFE.gain, LIFE.shared, LIFE.modes, LIFE.burst, e) for e in (.25, .5, .75, 1)}
LABELS, SINGLE = (50, 100, 300, 1200), 4

def open_world(seed, name):
    "A study, with a brain of the dial where the name says so."
    BRAINS.update(DIAL)
    return open_study(StudyConfig(world='small', val_share=0, brain=name), seed)

def looks(pictures, known=None):
    y = look(pictures, 8).flatten(1).numpy().astype(np.float64)
    mean, size = known or (y.mean(0), np.maximum(y.std(0), .1*y.std(0).mean()))
    return (y - mean)/size, (mean, size)

def identified(read, true, who):
    "Two-way and fifty-way share of each picture."
    c, n = correlations(read.astype(float), true), np.bincount(who)
    return [(np.bincount(who, n_way(c, who, k))/n).round(4).tolist() for k in (2, 50)]

def one_world(seed, name, labels, say):
    study = open_world(seed, name)
    x, pictures, _ = paired(study.rec, 'train')
    category, test = study.rec.of('train').category, study.rec.of('test')
    ids = np.unique(test.image_id)
    rows = [np.flatnonzero(test.image_id == i) for i in ids]
    single = test.x[np.concatenate([r[:SINGLE] for r in rows])]
    mean = np.stack([test.x[r].mean(0) for r in rows])
    y, known = looks(pictures)
    true, _ = looks(np.stack([test.stimuli[i] for i in ids]), known)
    y, noise, found = y.astype(np.float32), rest_noise(study.noise, x), []
    white, apart = whitened(noise, x), separated(noise, x)
    for n in labels:
        few = np.sort(rng(seed, 'few labels', n).permutation(len(x))[:n])
        own = separated(noise, x[few])
        chosen = choose_space(x[few], y[few], category[few], (white, apart))
        spaces = dict(voxels=voxels(x.shape[1]), selected=selected(x[few], y[few]), whitened=white,
                      separated=apart, own=own, chosen=chosen.space)
        for kind, space in spaces.items():
            fit = ridge_features(x[few], y[few], category[few], space=space.turn)
            row = dict(world=seed, brain=name, labels=n, space=kind,
                       single=identified(fit.predict(single), true, np.repeat(np.arange(50), SINGLE)),
                       mean=identified(fit.predict(mean), true, np.arange(50)))
            if kind == 'chosen':
                row |= dict(name=space.name, r2={k: round(v, 4) for k, v in chosen.r2.items()})
            found.append(row)
            two, fifty = (np.mean(v) for v in row['single'])
            say(f"world {seed} {name:9s} {n:4d} labels {kind:9s} two-way {two:.3f} fifty {fifty:.3f}"
                f" mean {np.mean(row['mean'][0]):.3f} {row.get('name', '')}")
    return found

def gains(rows, base):
    "Value, gain over `base` (world -> row) and its 95 % interval over worlds and pictures, for trials and scores."
    found = {}
    for trials in ('single', 'mean'):
        found[trials] = {}
        for j, score in enumerate(('two', 'fifty')):
            d = np.concatenate([np.subtract(r[trials][j], base[r['world']][trials][j]) for r in rows])
            boot = d[rng(0, 'boot').integers(len(d), size=(4000, len(d)))].mean(1)
            known = np.mean([r[trials][j] for r in rows]), d.mean(), *np.quantile(boot, (.025, .975))
            found[trials][score] = dict(zip(('value', 'gain', 'low', 'high'), np.round(known, 4).tolist()))
    return found

def summed(rows):
    "One row for each (brain, labels, space): value, gain over voxels and its 95 % interval, over worlds and pictures."
    def key(r): return r['brain'], r['labels']
    found = []
    for k in dict.fromkeys(map(key, rows)):
        own = [r for r in rows if key(r) == k]
        base = {r['world']: r for r in own if r['space'] == 'voxels'}
        for kind in dict.fromkeys(r['space'] for r in own):
            some = [r for r in own if r['space'] == kind]
            line = dict(brain=k[0], labels=k[1], space=kind, worlds=len(some)) | gains(some, base)
            if kind == 'chosen':
                line |= dict(names=[r['name'] for r in some], r2=[r['r2'] for r in some])
            found.append(line)
    return found

def gains_text(found):
    "What `gains` gives, in one line."
    return ' | '.join(f"{v['value']:.3f} {v['gain']:+.3f} [{v['low']:+.3f} {v['high']:+.3f}]"
                      for t in ('single', 'mean') for v in found[t].values())

def table(rows):
    for r in summed(rows):
        print(f"{r['brain']:9s} {r['labels']:4d} {r['space']:9s} | " + gains_text(r), *r.get('names', ()))

def study_options(doc, worlds, name, runs=False):
    "What a study that resumes is asked: worlds, where its rows (and stages) lie, what to show."
    p = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--worlds', type=int, nargs='+', default=worlds)
    p.add_argument('--out', default=f'{name}.json', help='what is found there is not asked again')
    if runs:
        p.add_argument('--runs', default=f'{name}-runs', help='folder of the stages')
    p.add_argument('--table', action='store_true')
    p.add_argument('--fixture', help='write the summed table there, as the chapter reads it')
    return p

def kept_rows(file):
    "The rows of a study so far, and what writes them down."
    rows = json.loads(Path(file).read_text()) if Path(file).exists() else []
    def keep():
        with atomic_file(Path(file)) as tmp:
            tmp.write_text(json.dumps(rows), encoding='utf-8')
    return rows, keep

def ask_missing(rows, keep, places, labels, one_world):
    "Each (world, brain) with the numbers of labels that its rows lack; rows are written after each."
    for seed, brain in places:
        done = {r['labels'] for r in rows if (r['world'], r['brain']) == (seed, brain)}
        if missing := [n for n in labels if n not in done]:
            rows += one_world(seed, brain, missing, lambda s: print(s, flush=True))
            keep()

def main():
    p = study_options(__doc__, [0, 1, 2], 'separate')
    p.add_argument('--brains', nargs='+', default=['plain', 'lifelike', *DIAL])
    p.add_argument('--labels', type=int, nargs='+', default=LABELS)
    a = p.parse_args()
    rows, keep = kept_rows(a.out)
    if not a.table:
        ask_missing(rows, keep, [(seed, name) for seed in a.worlds for name in a.brains], a.labels, one_world)
    table(rows)
    if a.fixture:
        about = dict(what='ridge to looks, identification among 50 test pictures of new categories', single_trials=SINGLE,
                     repeats=35, rows=summed(rows))
        Path(a.fixture).write_text(json.dumps(about, indent=0) + '\n', encoding='utf-8')

if __name__ == '__main__':
    main()
