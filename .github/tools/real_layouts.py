"""Take real tables of events, plant a small brain behind them, and go the whole way from the command line.

    VISDEC_SHARED=/path/to/shared python .github/tools/real_layouts.py [--keep FOLDER] [--no-demo] [NAME ...]

For NOD, THINGS-fMRI, BOLD5000 and GOD (perception and imagery in one record), and for Deep Image Reconstruction (SHEN,
whose tables are written here in the published form, and whose imagery is scored as well): the published tables below
`shared/data/real/bids`, under the names of the published files; scans, confounds and pictures are written here. A
voxel's response to a picture is planted, a scan is its course (Glover) with white noise of .3 of the largest time
course on a level of 1000. Then, each as its own process: `visdec inspect --bids`, `visdec prepare bids`, `visdec
inspect`, `visdec demo --data recording --preset tiny`. One line for each layout: trials, splits, the median correlation
over voxels of planted and prepared responses, seconds of each command. Exits 1 where a command fails or r is below
what is promised."""
import argparse, csv, subprocess, sys, tempfile, time
from pathlib import Path

import nibabel as nib
import numpy as np
from PIL import Image

from visdec.core import rng, shared_path
from visdec.files import find
from visdec.recording import Recording

PROGRAM = 'import sys; from visdec.cli import main; sys.exit(main())'
GRID, LEVEL = (5, 4, 3), 1000.
REST = ('rest', 'inter_rest')

def rows_of(table): return list(csv.DictReader(table.read_text(encoding='utf-8').splitlines(), delimiter='\t'))

class Layout:
    "A study that is being written: raw tables, derivatives, pictures, and what was planted."
    def __init__(self, home, subject, task_of_picture, tr, rows, ending=''):
        self.home, self.sub, self.tr = Path(home), subject, tr
        self.picture, self.rows, self.ending = task_of_picture, rows, ending      # column, kinds that are trials
        self.rest, self.meant = REST, {}                                          # kinds without events; names of pictures
        self.planted, self.known = [], {}
        self.g = rng(0, 'real layouts', str(home))
    def pattern(self, name):
        "What a picture shows, and what each voxel answers: a random mixture of its 4 x 4 blocks."
        if name not in self.known:
            g = rng(0, 'picture', name)
            self.known[name] = g.integers(0, 256, (4, 4, 3))
        return self.known[name]
    def respond(self, name):
        weight = rng(0, 'weights').standard_normal((48, int(np.prod(GRID))))
        light = self.pattern(name).reshape(-1)/128. - 1
        return light@weight/6 + .5*rng(0, 'own', name).standard_normal(weight.shape[1])
    def run(self, table, ses, task, raw, derived, space='_space-T1w', change=None):
        "One run: the table as it is, and a scan behind it."
        from nilearn.glm.first_level import make_first_level_design_matrix
        import pandas as pd
        rows = rows_of(table)
        if change: rows = change(rows)
        func = self.home/self.sub/ses/'func'
        out = self.home/'derivatives/fmriprep'/self.sub/ses/'func'
        for f in (func, out): f.mkdir(parents=True, exist_ok=True)
        with open(func/f'{self.sub}_{ses}_task-{task}_{raw}_events.tsv', 'w', newline='', encoding='utf-8') as f:
            writer = csv.DictWriter(f, list(rows[0]), delimiter='\t', lineterminator='\n')
            writer.writeheader(); writer.writerows(rows)
        kind = next((k for k in ('trial_type', 'event_type') if k in rows[0]), None)
        asked = self.rows and [k.strip().removeprefix(f'{task}/') for k in self.rows.split(',')
                               if '/' not in k or k.strip().startswith(f'{task}/')]
        for r in rows: r[self.column(r)] = self.meant.get(r[self.column(r)], r[self.column(r)])      # as planted; written above
        trial = [r[self.column(r)] != 'n/a' and (not asked or r[kind] in asked) for r in rows]
        used = [t or bool(kind) and r[kind] not in self.rest for t, r in zip(trial, rows)]
        n = int((float(rows[-1]['onset']) + float(rows[-1]['duration']) + 14)/self.tr)
        ev = pd.DataFrame([dict(onset=float(r['onset']), duration=float(r['duration']), trial_type=f'{i:06d}')
                           for i, r in enumerate(rows) if used[i]])
        X = make_first_level_design_matrix(self.tr*np.arange(n), ev, hrf_model='glover', drift_model=None)
        X = X.drop(columns='constant').to_numpy()
        other = {r[kind]: self.g.standard_normal(int(np.prod(GRID))) for i, r in enumerate(rows) if used[i] and not trial[i]}
        b = np.stack([self.respond(r[self.column(r)]) if trial[i] else other[r[kind]] for i, r in enumerate(rows) if used[i]])
        of = X[:, [trial[i] for i in range(len(rows)) if used[i]]]
        y = X@b + .3*np.abs(of).max()*b.std()*self.g.standard_normal((n, b.shape[1]))
        affine = np.diag([3., 3, 3, 1])
        image = nib.Nifti1Image((LEVEL*(1 + .01*y)).T.reshape(*GRID, n).astype(np.float32), affine)
        image.header.set_zooms((3, 3, 3, self.tr)); image.header.set_xyzt_units('mm', 'sec')
        stem = f'{self.sub}_{ses}_task-{task}_{derived}'
        nib.save(image, out/f'{stem}{space}_desc-preproc_bold.nii.gz')
        (out/f'{stem}{space}_desc-preproc_bold.json').write_text(f'{{"RepetitionTime": {self.tr}, "TaskName": "{task}"}}')
        names = ['trans_x', 'trans_y', 'trans_z', 'rot_x', 'rot_y', 'rot_z', 'csf', 'white_matter']
        noise = self.g.standard_normal((n, 8))
        (out/f'{stem}_desc-confounds_timeseries.tsv').write_text('\n'.join(
            ['\t'.join(names), *('\t'.join(f'{v:.5f}' for v in line) for line in noise)]) + '\n')
        (out/f'{stem}_desc-confounds_timeseries.json').write_text('{}')
        kept = [i for i, t in enumerate(trial) if t]
        self.planted += [(ses, r[self.column(r)], self.respond(r[self.column(r)])) for r in (rows[i] for i in kept)]
    def column(self, row): return next(c for c in self.picture if c in row)
    def draw(self, folder, of=lambda name: name):
        "The picture files, where the published study has them."
        for name, p in self.known.items():
            path = self.home/folder/of(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.kron(p, np.ones((8, 8, 1))).astype(np.uint8)).save(path, 'JPEG' if path.suffix.lower() != '.png' else 'PNG', quality=95)
    def whole(self, name='planted'):
        (self.home/'dataset_description.json').write_text(f'{{"Name": "{name}", "BIDSVersion": "1.8.0"}}')

def real(name): return find(shared_path('data', 'real', 'bids'), name)[0]

def nod(home):
    s = Layout(home, 'sub-01', ('stim_file',), 2., None)
    s.run(real('*task-imagenet_run-01_events.tsv'), 'ses-imagenet01', 'imagenet', 'run-01', 'run-1')
    s.run(real('*task-imagenet_run-10_events.tsv'), 'ses-imagenet01', 'imagenet', 'run-10', 'run-10')
    s.draw('stimuli')
    return s, ['--task', 'imagenet', '--split', 'ses-imagenet01/10/*=test', '--events', 'category=trial_type']

def things(home):
    s = Layout(home, 'sub-02', ('file_path',), 1.5, 'exp, test')
    s.run(real('*task-things*events.tsv'), 'ses-things08', 'things', 'run-06', 'run-06')
    s.draw('images')
    return s, ['--task', 'things', '--kind', 'exp, test', '--split', 'kind:test=test', '--images', f'{home}/images']

def bold5000(home):
    s = Layout(home, 'sub-CSI2', ('stim_file',), 2., None)
    s.run(real('*5000scenes*events.tsv'), 'ses-03', '5000scenes', 'run-05', 'run-05')
    def folder(name): return ('COCO/' if name.startswith('COCO') else 'ImageNet/' if name[0] == 'n' else 'Scene/') + name
    s.draw('Presented_Stimuli', folder)
    return s, ['--task', '5000scenes', '--split', '*/COCO_train2014*=test', '--images', f'{home}/Presented_Stimuli']

def god(home, imagery_runs=8):
    s = Layout(home, 'sub-01', ('stimulus_name', 'category_name'), 3., 'stimulus, imagery')
    s.run(real('*Training01*events.tsv'), 'ses-perceptionTraining01', 'perception', 'run-01', 'run-01')
    test = real('*perceptionTest01*events.tsv')
    s.run(test, 'ses-perceptionTest01', 'perception', 'run-01', 'run-01')
    of = {n.split('_')[0]: n for n in {r['stimulus_name'] for r in rows_of(test)} - {'n/a'}}
    pattern = s.pattern
    s.pattern = lambda name: pattern(of.get(name, name))               # imagined as it would be seen
    for i in range(imagery_runs):
        s.run(real('*imagery*events.tsv'), 'ses-imageryTest01', 'imagery', f'run-{i + 1:02d}', f'run-{i + 1:02d}')
    s.draw('images', lambda n: f"{'test' if n in of.values() else 'training'}/{n}.JPEG")
    return s, ['--task', 'perception, imagery', '--kind', 'stimulus, imagery', '--events', 'one_back=drop',
               '--split', 'ses-perceptionTest*=test, ses-imagery*=imagery', '--images', f'{home}/images']

SHAPES = [f'colorExpStim{i:02d}_red_+' for i in range(1, 11)]

def shen_table(home, name, shown, imagery=False):
    "A table in the form of Deep Image Reconstruction (ds001506, tables of version 1.2), for real tables are not at hand."
    na, rows, at = 'n/a', [], 32
    if imagery:
        columns = 'onset duration trial_no event_type category_id category_name category_index response_time evaluation'
        for i, k in enumerate(shown):
            for kind, length in ((1, 4), (2, 8), (3, 3), (4, 1)):
                rows.append((at, length, i + 2, kind, 1443537, 'n01443537', k, na, 4.))
                at += length
        rows = [(0, 32, 1, -1, *[na]*5), *rows, (at, 6, len(shown) + 2, -2, *[na]*5)]
    else:
        columns = 'onset duration event_type stimulus_id stimulus_name category_index image_index response_time'
        for i, name_ in enumerate(shown):
            for kind in (1, 2) if i % 10 == 3 else (1,):                     # five one-backs in fifty
                rows.append((at, 8, kind, '1.5', name_, 1, i, na))
                at += 8
        rows = [(0, 32, -1, *[na]*5), *rows, (at, 6, -2, *[na]*5)]
    path = Path(home)/'tables'/name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('\n'.join('\t'.join(map(str, r)) for r in [columns.split(), *rows]) + '\n')
    return path

def shen(home, imagery_runs=6):
    s = Layout(home, 'sub-01', ('stimulus_name', 'category_index'), 2., 'perception/1, imagery/2')
    s.rest = '-1', '-2', '-3'
    g = rng(0, 'shen')
    trained, tested = [f'n01{i:06d}_{i + 3}' for i in range(100)], [f'n02{i:06d}_{i + 7}' for i in range(50)]
    for r in (0, 1):
        s.run(shen_table(home, f'train{r}.tsv', trained[50*r:50*r + 50]), 'ses-perceptionNaturalImageTraining01', 'perception',
              f'run-{r + 1:02d}', f'run-{r + 1:02d}')
    s.run(shen_table(home, 'test.tsv', list(g.permutation(tested))), 'ses-perceptionNaturalImageTest01', 'perception', 'run-01', 'run-01')
    s.run(shen_table(home, 'shapes.tsv', SHAPES), 'ses-perceptionArtificialImage01', 'perception', 'run-01', 'run-01')
    s.run(shen_table(home, 'letters.tsv', [f'letter_{c}' for c in 'ACEINORSTU']), 'ses-perceptionLetterImage01', 'perception', 'run-01', 'run-01')
    meant = {str(k): n for k, n in zip([*range(1, 16), *range(17, 27)], [*(f'colorExpStim{i + 1:02d}_x' for i in range(15)), *tested[:10]])}
    s.meant = meant | {'16': 'n/a'}
    for r in range(imagery_runs):
        s.run(shen_table(home, f'imagery{r}.tsv', g.permutation(np.arange(1, 27)).tolist(), True), 'ses-imagery01', 'imagery',
              f'run-{r + 1:02d}', f'run-{r + 1:02d}')
    s.planted = [p for p in s.planted if 'Artif' not in p[0] and 'Letter' not in p[0]]
    s.draw('images', lambda n: f'{n}.JPEG')
    (Path(home)/'imagined.tsv').write_text('name\tpicture\n' + ''.join(f'{k}\t{v}\n' for k, v in s.meant.items()))
    return s, ['--task', 'perception, imagery', '--kind', 'perception/1, imagery/2', '--rest=-*, imagery/4', '--picture-column',
               'stimulus_name, category_index', '--names', f'{home}/imagined.tsv', '--drop', 'ses-perceptionArtif*, ses-perceptionLetter*',
               '--split', 'ses-perceptionNaturalImageTest*=test, ses-imagery*=imagery', '--images', f'{home}/images']

LAYOUTS = dict(NOD=(nod, .92), THINGS=(things, .85), BOLD5000=(bold5000, .92), GOD=(god, .85), SHEN=(shen, .85))

def call(*args):
    start = time.time()
    got = subprocess.run([sys.executable, '-c', PROGRAM, *map(str, args)], capture_output=True, text=True)
    return got, time.time() - start

def recovered(layout, folder):
    "Median correlation over voxels of planted and prepared responses, by split; one-backs give one trial."
    rec = Recording.load(folder)
    at, pairs, last = 0, [], None
    for place in sorted(layout.planted, key=lambda p: p[0]):             # sessions as they are read
        again = last is not None and last[:2] == place[:2]
        last = place
        if again and at < len(rec) and not rec.image_id[at].startswith(place[1]): continue      # a one-back, dropped
        if at < len(rec) and rec.session[at] == place[0] and (place[1] in rec.image_id[at]):
            pairs.append((at, place[2])); at += 1
    assert at == len(rec), f'{at} of {len(rec)} trials are the planted ones'
    x, b = rec.x, np.stack([p for _, p in pairs])[:, rec.meta['voxel']] if len(rec.meta['voxel']) < np.prod(GRID) else np.stack([p for _, p in pairs])
    def r(own):
        u, v = (a[own] - a[own].mean(0) for a in (x, b))
        return float(np.median((u*v).sum(0)/np.sqrt((u**2).sum(0)*(v**2).sum(0))))
    return {s: r(rec.split == s) for s in sorted(set(rec.split))}, {s: int((rec.split == s).sum()) for s in set(rec.split)}

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('names', nargs='*'); p.add_argument('--keep'); p.add_argument('--no-demo', action='store_true')
    given = p.parse_args()
    if shared_path('data', 'real', 'bids') is None: sys.exit('SKIPPED: no shared/data/real/bids; set VISDEC_SHARED')
    bad, base = 0, Path(given.keep or tempfile.mkdtemp())
    for name in given.names or LAYOUTS:
        make, promised = LAYOUTS[name]
        home = base/name
        layout, words = make(home)
        layout.whole('Deep Image Reconstruction' if name == 'SHEN' else 'planted')
        steps = dict(look=('inspect', home, '--bids', *words), prepare=('prepare', 'bids', home, base/f'{name}-out', *words),
                     inspect=('inspect', base/f'{name}-out'))
        if not given.no_demo:
            steps['demo'] = ('demo', '--data', 'recording', '--path', base/f'{name}-out', '--preset', 'tiny', '--out', base/f'{name}-run')
            if 'imagery' in ' '.join(words): steps['imagery'] = ('evaluate', '--out', base/f'{name}-run', '--split', 'imagery')
        said = []
        for step, args in steps.items():
            got, s = call(*args)
            said.append(f'{step} {s:.0f} s')
            if got.returncode:
                bad += 1; print(f'{name}: {step} FAILED: {(got.stdout if step == "look" else got.stderr)[-900:]}', flush=True); break
        else:
            r, n = recovered(layout, base/f'{name}-out'/layout.sub)
            bad += min(r.values()) < promised or r.get('imagery', 1) < .95
            print(f'{name:9s} r {", ".join(f"{k} {v:.3f} ({n[k]} trials)" for k, v in r.items())}; {", ".join(said)}', flush=True)
    sys.exit(bool(bad))

if __name__ == '__main__': main()
