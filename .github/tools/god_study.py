"""Five simulated people in GOD's published layout, and the method against DC-LDM with and without test responses.

    nice -n 10 python .github/tools/god_study.py [--preset small] [--people 5] [--work FOLDER] [--out FILE.json]

Writes Subject1.h5 to Subject5.h5 (BData: 1,200 training, 1,750 test and 500 imagery trials) and the picture files, then
types what a researcher types: `visdec prepare god` and `visdec ladder --data recording`, each as its own process. Codec
and prior are the shipped ones, as in the ladder of simulated worlds. Resumable: files, prepared people and finished rows
are kept in --work. The table of --out holds no path of this machine."""
import argparse, json, subprocess, sys
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from visdec.core import atomic_file, rng
from visdec.god import number_of
from visdec.sim import simulate

ROWS = ('mean picture', 'ridge', 'posterior mean', 'embedding painter', 'DC-LDM', 'DC-LDM tuned on test responses', 'this method')
SHIPPED = ('parts.shipped=true', 'finetune.steps=0', 'sampling.steps=12', 'sampling.guidance=2')
KIND = dict(train=1, test=2, imagery=3)

@dataclass
class Scanned:
    "One person's trials, in GOD's words."
    x: np.ndarray           # (trial, voxel)
    names: np.ndarray       # (trial,), n01234567_89
    kind: np.ndarray        # (trial,), see KIND
    run: np.ndarray         # (trial,), numbers restart with each kind
    roi: dict

def names_of(rec):
    "A name like ImageNet's for each picture, the same for all people."
    draw = rng(0, 'god study')
    synset = {c: f'n{1440000 + 8117*i:08d}' for i, c in enumerate(draw.permutation(sorted(set(rec.category))))}
    category = dict(zip(rec.image_id, rec.category))
    return {i: f'{synset[category[i]]}_{3 + k}' for k, i in enumerate(sorted(category))}

def scanned(rec, used, imagined=10):
    "The trials of a record, and faint echoes of the test patterns with closed eyes."
    draw = rng(0, 'god study, imagery', str(rec.subject[0]))
    tested = sorted(set(rec.image_id[rec.split == 'test']))
    order = np.concatenate([draw.permutation(tested) for _ in range(imagined)])
    mean = {i: rec.x[rec.image_id == i].mean(0) for i in tested}
    echo = np.stack([mean[i] for i in order])
    echo = rec.x.mean(0) + .3*(echo - echo.mean(0)) + draw.standard_normal(echo.shape)*rec.x.std(0)
    kind = np.r_[[KIND[s] for s in rec.split], np.full(len(order), KIND['imagery'])]
    run = np.r_[rec.run.astype(int), np.arange(len(order))//25 + 1]
    for k in KIND.values():
        run[kind == k] += 1 - run[kind == k].min()
    names = np.array([used[i] for i in (*rec.image_id, *order)])
    early = rec.roi['V1'] | rec.roi['V2'] | rec.roi['V3']
    roi = dict(rec.roi) | dict(LVC=early, HVC=~(early | rec.roi['V4']), VC=np.ones(rec.x.shape[1], bool))
    return Scanned(np.concatenate([rec.x, echo]), names, kind, run, roi)

def write_bdata(path, t):
    "BData, as figshare 7387130 has it: a table, and rows that say what its columns are."
    number = np.array([number_of(n) for n in t.names])
    number[t.kind == KIND['imagery']] //= 1                       # imagery names a category only
    columns = dict(Run=t.run, DataType=t.kind, stimulus_id=number)
    v, m = t.x.shape[1], len(columns)
    rows = {'VoxelData': np.r_[np.ones(v), np.full(m, np.nan)]}
    rows |= {f'ROI_{k}': np.r_[mask.astype(float), np.full(m, np.nan)] for k, mask in t.roi.items()}
    rows |= {k: np.where(np.arange(v + m) == v + j, 1., np.nan) for j, k in enumerate(columns)}
    with atomic_file(path) as tmp:
        with h5py.File(tmp, 'w') as f:
            f['dataset'] = np.column_stack([t.x.astype(float), *(np.asarray(c, float) for c in columns.values())])
            f['metadata/key'] = np.array(list(rows), dtype='S')
            f['metadata/value'] = np.array(list(rows.values()))
            f['metadata/description'] = np.array([f'1 = {k}' for k in rows], dtype='S')
            f.create_group('vmap')

def write_people(folder, preset, people):
    "The files of everybody, and the pictures, where they are not there yet."
    folder.mkdir(parents=True, exist_ok=True)
    used = None
    for i in range(1, people + 1):
        rec = simulate(preset, 0, f'sub-{i:02d}')
        used = used or names_of(rec)
        if not (folder/f'Subject{i}.h5').exists():
            write_bdata(folder/f'Subject{i}.h5', scanned(rec, used))
    for k, name in used.items():
        role = 'test' if k.startswith('test') else 'training'
        file = folder/'images'/role/f'{name}.png'
        file.parent.mkdir(parents=True, exist_ok=True)
        if not file.exists():
            Image.fromarray(rec.stimuli[k]).save(file)

def typed(*words):
    "What a researcher types, as its own process."
    print('$ visdec', *words, flush=True)
    program = f'import sys; sys.path.insert(0, {str(ROOT)!r}); from visdec.cli import main; sys.exit(main())'
    subprocess.run([sys.executable, '-c', program, *map(str, words)], check=True)

def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--preset', default='small')
    p.add_argument('--people', type=int, default=5)
    p.add_argument('--work', default='/tmp/god_study')
    p.add_argument('--out', default=str(ROOT/'nbs/fixtures/ladder_god.json'))
    a = p.parse_args()
    work = Path(a.work)/a.preset
    write_people(work/'published', a.preset, a.people)
    typed('prepare', 'god', work/'published', work/'prepared', '--images', work/'published'/'images')
    shipped = SHIPPED if a.preset in ('small', 'medium') else ()
    changes = [w for s in shipped for w in ('--set', s)]
    typed('ladder', '--data', 'recording', '--path', work/'prepared', '--preset', a.preset, '--rows',
          ','.join(ROWS), *changes, '--out', work/'ladder')
    found = json.loads((work/'ladder'/'ladder.json').read_text())
    found['config']['path'] = 'prepared'                          # no folder of this machine
    found['about']['source'] = f'world 0, {a.people} simulated people in the layout of GOD'
    with atomic_file(Path(a.out)) as tmp:
        tmp.write_text(json.dumps(found, indent=1) + '\n', encoding='utf-8')
    print(f'written: {a.out}', flush=True)

if __name__ == '__main__':
    main()
