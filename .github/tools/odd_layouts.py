"""Write five small studies as laboratories leave them on disk, and go the whole way from the command line.

    python .github/tools/odd_layouts.py                      all five (about 10 min on one core)
    python .github/tools/odd_layouts.py echoes windows       some of them
    python .github/tools/odd_layouts.py --no-demo --keep DIR no training; the studies stay in DIR

A voxel's response to a picture is planted; scans are written with a little noise. For each study `visdec inspect --bids`,
`visdec prepare bids` and `visdec demo --preset tiny` run, each as its own process. Three of the studies cannot be read as
they are: there the message is checked, its advice is followed, and the way goes on. One line each: trials, splits, median
correlation over voxels of planted and prepared responses. Exits 1 where a command ends otherwise than promised."""
import argparse, gzip, hashlib, json, sys, tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
from PIL import Image

from real_layouts import call
from visdec.recording import Recording

GRID, TR, LEAST = (5, 4, 3), 2., .85
FORMATS = dict(jpg='JPEG', jpeg='JPEG', png='PNG', bmp='BMP')
WEIGHT = np.random.default_rng(5).normal(size=(48, int(np.prod(GRID))))

def pattern(name):
    "What a picture shows: 4 x 4 blocks of colour, by its name."
    seed = int(hashlib.md5(name.encode()).hexdigest()[:8], 16)
    return np.random.default_rng(seed).integers(0, 256, (4, 4, 3))

def respond(name): return (pattern(name).reshape(-1)/128. - 1)@WEIGHT/6

def course(t):
    "A response to a short look: a peak and an undershoot."
    return t**5*np.exp(-t)/120 - t**15*np.exp(-t)/(6*1307674368000)

class Study:
    "A study that is being written."
    def __init__(self, home):
        self.home, self.known = Path(home), []
        self.home.mkdir(parents=True)
        (self.home/'dataset_description.json').write_text(json.dumps(dict(Name=home.name, BIDSVersion='1.8.0')))
    def pictures(self, names, below='stimuli'):
        self.known += names
        for n in names:
            path = self.home/below/n
            path.parent.mkdir(parents=True, exist_ok=True)
            light = np.kron(pattern(n), np.ones((8, 8, 1))).astype(np.uint8)
            Image.fromarray(light).save(path, format=FORMATS[path.suffix[1:].lower()])
    def scan(self, rows, frames, seed):
        "A run: `rows` are (onset, seconds, picture)."
        t, g = np.arange(frames)*TR, np.random.default_rng(seed)
        y = np.zeros((frames, WEIGHT.shape[1]))
        for onset, seconds, name in rows:
            seen = sum(course(np.maximum(t - onset - s, 0)) for s in np.arange(0, max(seconds, .5), .5))
            y += np.outer(seen, respond(name))
        y = 1000 + 20*y/abs(y).max() + 2*g.normal(size=y.shape)
        img = nib.Nifti1Image(y.T.reshape(*GRID, frames).astype(np.float32), np.diag([3, 3, 3, 1.]))
        img.header.set_zooms((3, 3, 3, TR))
        return img
    def save(self, img, path):
        path.parent.mkdir(parents=True, exist_ok=True)
        nib.save(img, path)
        name = path.name.removesuffix('.gz').removesuffix('.nii')
        path.with_name(f'{name}.json').write_text(json.dumps(dict(RepetitionTime=TR)))
    def derived(self, img, out, scan, mask, confounds, seed=0):
        "What fMRIPrep leaves: a scan, its mask, its table of confounds."
        self.save(img, out/scan)
        nib.save(nib.Nifti1Image(np.ones(GRID, np.uint8), img.affine), out/mask)
        columns = [f'{k}_{a}' for k in ('trans', 'rot') for a in 'xyz'] + ['csf', 'white_matter', 'global_signal']
        x = np.random.default_rng(seed).normal(size=(img.shape[-1], len(columns)))*.01
        lines = ['\t'.join(columns), *('\t'.join(f'{v:.5f}' for v in r) for r in x)]
        (out/confounds).write_text('\n'.join(lines) + '\n')

def plan(run, names, n, gap=6., seconds=2.):
    order = np.random.default_rng(run).permutation(len(names))[:n]
    return [(8 + gap*i, seconds, names[k]) for i, k in enumerate(order)]

def table(path, lines, windows=False):
    path.parent.mkdir(parents=True, exist_ok=True)
    text = ('\r\n' if windows else '\n').join(lines) + '\n'
    path.write_bytes((b'\xef\xbb\xbf' if windows else b'') + text.encode())

def echoes(home):
    "Two echoes, magnitude and phase, two directions; presses of a button without an onset; a session of imagery."
    s, names = Study(home), [f'train_{i:02d}.png' for i in range(40)]
    asked = [f'test_{i:02d}.png' for i in range(10)]
    s.pictures(names + asked)
    for ses in ('imagery01', 'view01'):
        for run, way in ((1, 'AP'), (2, 'PA')):
            seen = ses == 'view01'
            rows = plan(run + 10*seen, names if seen else asked*2, 20)
            stem, own = f'sub-01_ses-{ses}_task-view_dir-{way}_run-{run:02d}', f'sub-01/ses-{ses}/func'
            lines = ['onset\tduration\ttrial_type\tstim_file']
            for i, (onset, seconds, name) in enumerate(rows):
                lines.append(f'{onset}\t{seconds}\timage\t{name}')
                if i % 7 == 0: lines.append('n/a\tn/a\tbutton\tn/a')
            table(s.home/own/f'{stem}_events.tsv', lines, windows=True)
            img, out = s.scan(rows, 75, run), s.home/'derivatives/fmriprep'/own
            for e in (1, 2):
                s.save(img, out/f'{stem}_echo-{e}_part-mag_desc-preproc_bold.nii.gz')
                for part in ('mag', 'phase'): s.save(img, s.home/own/f'{stem}_echo-{e}_part-{part}_bold.nii.gz')
            s.derived(img, out, f'{stem}_part-mag_space-T1w_desc-preproc_bold.nii.gz',
                      f'{stem}_part-mag_space-T1w_desc-brain_mask.nii.gz', f'{stem}_part-mag_desc-confounds_timeseries.tsv')
    split = 'ses-imagery*=imagery, ses-view01/*/train_3*=test'
    return s, ['--task', 'view', '--space', 'T1w', '--split', split], '', None

def blanks(home):
    "Blanks and capitals in names, folders of pictures, two spaces with a resolution, a run that one subject lacks."
    names = [f'Animals/DOG {i:02d}.JPG' for i in range(20)] + [f'Things/Cup {i:02d}.JPG' for i in range(20)]
    s, asked = Study(home), [f'Test Set/T{i}.JPG' for i in range(8)]
    s.pictures(names + asked)
    for sub, runs in (('sub-A01', (1, 2, 3)), ('sub-B02', (1, 3))):
        for run in runs:
            rows, stem = plan(run, names if run < 3 else asked*2, 16), f'{sub}_task-natural_acq-mb4_run-{run}'
            lines = ['onset\tduration\ttrial_type\tstim_file\tresponse_time']
            for onset, seconds, name in rows:
                lines += [f'{onset - 1}\t1\tfix cross\tn/a\tn/a', f'{onset}\t{seconds}\tnatural scene\t{name}\t0.5']
            table(s.home/sub/'func'/f'{stem}_events.tsv', lines)
            img, out = s.scan(rows, 70, run), s.home/'derivatives/fmriprep'/sub/'func'
            s.save(img, s.home/sub/'func'/f'{stem}_bold.nii.gz')
            for space in ('MNI152NLin2009cAsym_res-2', 'T1w'):
                s.derived(img, out, f'{stem}_space-{space}_desc-preproc_bold.nii.gz',
                          f'{stem}_space-{space}_desc-brain_mask.nii.gz', f'{stem}_desc-confounds_timeseries.tsv')
    return s, ['--task', 'natural', '--split', '3=test', '--space', 'MNI152NLin2009cAsym_res-2'], '', None

def windows(home):
    "Tables from Windows: backslashes, a byte order mark, commas for points; derivatives one folder deeper."
    s, names = Study(home), [f'set1/img{i:02d}.PNG' for i in range(30)]
    asked = [f'set2/img{i:02d}.PNG' for i in range(8)]
    s.pictures(names + asked)
    for ses in ('01', '02'):
        rows, stem = plan(int(ses), names if ses == '01' else asked*2, 24), f'sub-07_ses-{ses}_task-see'
        lines = ['onset\tduration\ttrial_type\tstim_file']
        for onset, _, name in rows:
            where = f'stimuli/{name}'.replace('/', '\\')
            lines.append(f'{onset:.1f}'.replace('.', ',') + f'\t2,0\tpic\t{where}')
        own = f'sub-07/ses-{ses}/func'
        table(s.home/own/f'{stem}_events.tsv', lines, windows=True)
        img = s.scan(rows, 90, 1)
        s.save(img, s.home/own/f'{stem}_bold.nii.gz')
        s.derived(img, s.home/'derivatives/fmriprep/fmriprep'/own, f'{stem}_space-T1w_desc-preproc_bold.nii.gz',
                  f'{stem}_space-T1w_desc-brain_mask.nii.gz', f'{stem}_desc-confounds_timeseries.tsv')
    (s.home/'derivatives/fmriprep/freesurfer/sub-07').mkdir(parents=True)
    def follow():
        for f in s.home.rglob('*_events.tsv'): f.write_bytes(f.read_bytes().replace(b',0', b'.0'))
    return s, ['--task', 'see', '--split', 'ses-02*=test'], 'write a point for the comma', follow

def packed(home):
    "Tables of events packed with gzip, no sessions, scans that are not packed, a column of its own for pictures."
    s, names, asked = Study(home), [f'im{i:02d}.bmp' for i in range(30)], [f'tt{i:02d}.bmp' for i in range(8)]
    s.pictures(names + asked)
    for run in ('01', '02'):
        rows, stem = plan(int(run), names if run == '01' else asked*2, 24), f'sub-1_task-x_run-{run}'
        lines = ['onset\tduration\tstimulus', *(f'{on}\t{sec}\t{Path(name).stem}' for on, sec, name in rows)]
        func = s.home/'sub-1/func'
        func.mkdir(parents=True, exist_ok=True)
        with gzip.open(func/f'{stem}_events.tsv.gz', 'wt') as f: f.write('\n'.join(lines) + '\n')
        img = s.scan(rows, 90, int(run))
        s.save(img, func/f'{stem}_bold.nii')
        s.derived(img, s.home/'derivatives/fmriprep/sub-1/func', f'{stem}_desc-preproc_bold.nii',
                  f'{stem}_desc-brain_mask.nii.gz', f'{stem}_desc-confounds_timeseries.tsv')
    def follow():
        for f in s.home.rglob('*_events.tsv.gz'): f.with_suffix('').write_bytes(gzip.decompress(f.read_bytes()))
    return s, ['--task', 'x', '--split', '02=test', '--picture-column', 'stimulus'], 'unpack it', follow

def halves(home):
    "A subject without derivatives, rows out of order and of no length, a picture without an onset, sessions by word."
    s, names = Study(home), [f'p{i:03d}.jpeg' for i in range(36)]
    asked = [f'q{i:03d}.jpeg' for i in range(6)]
    s.pictures(names + asked, 'stimuli/images')
    for sub in ('sub-01', 'sub-02'):
        for ses in ('pre', 'post'):
            rows = plan(3 + (ses == 'pre'), names if ses == 'pre' else asked*3, 18, seconds=.5)
            lines, stem = [f'{on:.3f}\t0\tstim\timages/{name}\t1' for on, _, name in rows], f'{sub}_ses-{ses}_task-rsvp_run-1'
            lines.insert(4, f'n/a\t0\tstim\timages/{names[0]}\t1')
            lines[:2] = lines[1::-1]
            own = f'{sub}/ses-{ses}/func'
            table(s.home/own/f'{stem}_events.tsv', ['onset\tduration\ttrial_type\tstim_file\tblock', *lines])
            img = s.scan(rows, 70, 1)
            s.save(img, s.home/own/f'{stem}_bold.nii.gz')
            if sub == 'sub-01':
                s.derived(img, s.home/'derivatives/fmriprep'/own, f'{stem}_space-T1w_desc-preproc_bold.nii.gz',
                          f'{stem}_space-T1w_desc-brain_mask.nii.gz', f'{stem}_desc-confounds_timeseries.tsv')
    def follow():
        for f in s.home.rglob('*_events.tsv'):
            lines = f.read_text().splitlines(True)
            f.write_text(''.join(r.replace(f'images/{names[0]}', 'n/a') if r.startswith('n/a') else r for r in lines))
    return s, ['--task', 'rsvp', '--subject', 'sub-01', '--split', 'ses-post*=test'], 'write n/a for the picture', follow

LAYOUTS = dict(echoes=echoes, blanks=blanks, windows=windows, packed=packed, halves=halves)

def visdec(*words):
    run, _ = call(*words)
    return run.returncode, run.stdout + run.stderr

def found(study, folder):
    "Median correlation over voxels, of what was planted and what was prepared."
    rec = Recording.load(folder)
    def own(image_id):
        name = image_id.replace('\\', '/').removeprefix('stimuli/').removeprefix('images/')
        return next(n for n in study.known if name in (n, Path(n).stem))
    true = np.stack([respond(own(i)) for i in rec.image_id])
    r = np.median([np.corrcoef(true[:, v], rec.x[:, v])[0, 1] for v in range(true.shape[1])])
    splits = ' '.join(f'{k} {n}' for k, n in zip(*np.unique(rec.split, return_counts=True)))
    return r, f'{len(rec)} trials ({splits}), r {r:.3f}'

def walk(name, home, demo):
    "The whole way of one study; what went wrong, or nothing."
    study, words, advice, follow = LAYOUTS[name](home/name)
    out, said = home/f'{name} prepared', []
    prepare = ['prepare', 'bids', study.home, out, *words, '--images', study.home/'stimuli']
    if follow:
        rc, text = visdec(*prepare)
        if rc != 2 or advice not in text: return f'prepare ended with {rc} and did not say {advice!r}: {text[-400:]}'
        follow()
    for command in (['inspect', study.home, '--bids', *words], prepare):
        rc, text = visdec(*command)
        if rc: return f'{command[0]} ended with {rc}: {text[-400:]}'
    for folder in sorted(out.glob('sub-*')):
        r, line = found(study, folder)
        print(f'{name:8s} {folder.name}: {line}', flush=True)
        if r < LEAST: said.append(f'r {r:.3f} is below {LEAST}')
    if demo:
        folders = sorted(out.glob('sub-*'))
        rc, text = visdec('demo', '--data', 'recording', '--path', folders[0] if len(folders) == 1 else out,
                          '--preset', 'tiny', '--out', home/f'{name} run')
        if rc: said.append(f'demo ended with {rc}: {text[-400:]}')
        elif 'imagery' in ' '.join(words):
            rc, text = visdec('evaluate', '--split', 'imagery', '--out', home/f'{name} run')
            if rc: said.append(f'evaluate ended with {rc}: {text[-400:]}')
    return '; '.join(said)

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('names', nargs='*', metavar='NAME', help=', '.join(LAYOUTS))
    p.add_argument('--keep', help='folder for the studies (default: a temporary one)')
    p.add_argument('--no-demo', action='store_true', help='prepare only')
    a = p.parse_args()
    if unknown := set(a.names) - set(LAYOUTS): p.error(f'no such layout: {sorted(unknown)}; there are {sorted(LAYOUTS)}')
    wrong = 0
    with tempfile.TemporaryDirectory() as d:
        for name in a.names or LAYOUTS:
            said = walk(name, Path(a.keep or d), not a.no_demo)
            wrong += bool(said)
            print(f'{name:8s} {said or "ok"}', flush=True)
    sys.exit(wrong > 0)

if __name__ == '__main__': main()
