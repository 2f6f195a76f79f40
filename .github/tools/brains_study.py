#!/usr/bin/env python3
"""Few labels, many brains: what three other brains are worth to a fourth. The study behind chapter 27.

    python .github/tools/brains_study.py                     # worlds 1 to 3, two brains, some 30 min of one core; resumes
    python .github/tools/brains_study.py --worlds 1 --brains lifelike --labels 50
    python .github/tools/brains_study.py --table             # print what was found so far

Three subjects have 1,200 labelled trials each, the fourth 50 to 1,200, rest, and all of its responses without labels.
Ways of reading its looks (chapter 39), each from single test trials (4 a picture) and from the mean of 35:

  voxels       its own trials, ridge                     separated  the same in the space of chapter 26
  own tunings  chapter 27's reader, no other brain       trunk      ridge to 64 mixtures that others' readers tell
  aligned      ridge between brains, pictures shared     lookalikes tunings matched among the voxels of the others
  lookalikes, other pictures     the others never saw the pictures of its labelled trials
  lookalikes, shuffled           null: the others' pictures dealt out wrongly
  lookalikes and separated       the mean of both readings

World 0 was used to settle the method (sizes, shrink, the mean of both); it is not in the study. Nothing is chosen here."""
import json, sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2])), sys.path.insert(0, str(Path(__file__).resolve().parent))
from separate_study import SINGLE, ask_missing, gains, gains_text, identified, kept_rows, looks, study_options
from visdec.brains import aligned, encoding, matched, mean_reading, other_brains, reading_by, trunk_of, trunk_reading
from visdec.core import rng
from visdec.ridge import ridge_features
from visdec.separate import rest_noise, separated
from visdec.study import StudyConfig, open_study, paired

LABELS = 50, 100, 300, 1200

def subject(seed, brain, name):
    "Training responses in the order of their pictures, and all else of one subject."
    study = open_study(StudyConfig(world='small', val_share=0, brain=brain, subject=name), seed)
    x, pictures, ids = paired(study.rec, 'train')
    order = np.argsort(ids, kind='stable')
    return (x[order], rest_noise(study.noise, x), pictures[order], ids[order],
            study.rec.of('train').category[order], study.rec.of('test'))

def one_world(seed, brain, labels, say):
    told = [subject(seed, brain, f'sub-0{k}') for k in (1, 2, 3, 4)]
    xs, (x, noise, pictures, ids, category, test) = [t[0] for t in told[:3]], told[3]
    assert all((t[3] == ids).all() for t in told)                # one picture in each row
    y, known = looks(pictures)
    names = np.unique(test.image_id)
    rows = [np.flatnonzero(test.image_id == i) for i in names]
    single = test.x[np.concatenate([r[:SINGLE] for r in rows])]
    mean = np.stack([test.x[r].mean(0) for r in rows])
    true, _ = looks(np.stack([test.stimuli[i] for i in names]), known)
    y32, found = y.astype(np.float32), []
    space, old = separated(noise, x).turn, [ridge_features(v, y32, category) for v in xs]
    others, trunk = other_brains(xs, [y]*3), trunk_of(xs, old)
    deal = rng(seed, 'shuffled others').permutation(len(y))
    shuffled = other_brains(xs, [y[deal]]*3)
    for n in labels:
        few = np.sort(rng(seed, 'few labels', n).permutation(len(x))[:n])
        kept = np.setdiff1d(np.arange(len(x)), few)
        a, b, groups = x[few], y[few], category[few]
        def by(tuned, whose=others): return reading_by(tuned, noise, whose, b)
        own, apart = (ridge_features(a, y32[few], groups, space=s) for s in (None, space))
        alike = by(matched(a, b, others))
        ways = {'voxels': own, 'separated': apart, 'own tunings': by(encoding(a, b, others.cov)),
                'trunk': trunk_reading(a, b, trunk, groups), 'aligned': aligned(a, [v[few] for v in xs], old, groups),
                'lookalikes': alike, 'lookalikes, shuffled': by(matched(a, b, shuffled), shuffled),
                'lookalikes and separated': mean_reading(alike, apart)}
        if n < 600:
            strangers = other_brains([v[kept] for v in xs], [y[kept]]*3)
            ways['lookalikes, other pictures'] = by(matched(a, b, strangers), strangers)
        for name, read in ways.items():
            row = dict(world=seed, brain=brain, labels=n, way=name,
                       single=identified(read.predict(single), true, np.repeat(np.arange(50), SINGLE)),
                       mean=identified(read.predict(mean), true, np.arange(50)))
            found.append(row)
            two, fifty, two_mean, fifty_mean = (np.mean(v) for t in ('single', 'mean') for v in row[t])
            say(f'world {seed} {brain:8s} {n:4d} labels {name:26s} single {two:.3f} {fifty:.3f}'
                f'   mean {two_mean:.3f} {fifty_mean:.3f}')
    return found

def summed(rows):
    "One row for each (brain, labels, way): values, and gains over three ways that know no other brain."
    def key(r): return r['brain'], r['labels']
    found = []
    for k in dict.fromkeys(map(key, rows)):
        own = [r for r in rows if key(r) == k]
        base = {w: {r['world']: r for r in own if r['way'] == w} for w in ('voxels', 'separated', 'own tunings')}
        for way in dict.fromkeys(r['way'] for r in own):
            some = [r for r in own if r['way'] == way]
            found.append(dict(brain=k[0], labels=k[1], way=way, worlds=len(some),
                              over={w: gains(some, b) for w, b in base.items()}))
    return found

def table(rows):
    for r in summed(rows):
        over = gains_text(r['over']['voxels'])
        print(f"{r['brain']:8s} {r['labels']:4d} {r['way']:26s} {r['worlds']} worlds | {over}")

def main():
    p = study_options(__doc__, [1, 2, 3], 'brains')
    p.add_argument('--brains', nargs='+', default=['lifelike', 'plain'])
    p.add_argument('--labels', type=int, nargs='+', default=LABELS)
    a = p.parse_args()
    rows, keep = kept_rows(a.out)
    if not a.table:
        ask_missing(rows, keep, [(seed, brain) for brain in a.brains for seed in a.worlds], a.labels, one_world)
    table(rows)
    if a.fixture:
        about = dict(what='ridge and Bayes to looks, 50 test pictures of new categories', single_trials=SINGLE,
                     repeats=35, others=3, rows=summed(rows))
        Path(a.fixture).write_text(json.dumps(about, indent=0) + '\n', encoding='utf-8')

if __name__ == '__main__':
    main()
