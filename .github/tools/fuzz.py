"""Damage written files of every format that visdec reads, and report all but a right value or a `DataError`.

    python .github/tools/fuzz.py --seconds 600 --seed 0                every format in turn
    python .github/tools/fuzz.py --only cifti --seconds 60             one format
    python .github/tools/fuzz.py --only cifti --seed 0 --case 17       one case again, with its traceback
    python .github/tools/fuzz.py --cases 3                             so many cases of each format

A case is (format, seed, number): the same three give the same damage. Each runs in a process of its own, with limits on
time (--limit, s) and memory (2 GB of address space, 400 MB more than before). What can come out:

    right      the same value as from the whole file
    refused    a `DataError`
    payload    other numbers from bytes that carry no checksum; no finding, counted apart
    said       a text without checksum that says something else, and says it in due form; counted apart
    RAW        any other exception
    SILENT     another structure or table, or another value from what carries a checksum
    HANG       no end within the limit
    MEMORY     memory asked for that no such file needs

The last four are findings: printed with the command that repeats them, their files kept below --keep. Exit 1 on any."""
import argparse, hashlib, json, os, random, re, resource, select, shutil, signal, sys, tempfile, time, traceback, warnings
from collections import Counter
from pathlib import Path

import numpy as np

from visdec.core import DataError

FINDINGS = 'RAW', 'SILENT', 'HANG', 'MEMORY'
FORMATS = {}

def known(sealed='$^', text='$^'):
    "Register a format: a class with `make(folder)` and `read(folder)` -> (structure, payload)."
    def add(cls):
        cls.sealed, cls.text = re.compile(sealed), re.compile(text)
        FORMATS[cls.__name__] = cls
        return cls
    return add

def digest(*arrays):
    "A short print of arrays: types, shapes and bytes."
    h = hashlib.sha256()
    for a in map(np.asarray, arrays):
        h.update(f'{a.dtype} {a.shape}'.encode() + (repr(a.tolist()).encode() if a.dtype.kind in 'OU' else a.tobytes()))
    return h.hexdigest()[:16]

def record(rec):
    "Structure of a record: all but its numbers, pixels, and labels that stand among the numbers."
    tables = [getattr(rec, k).tolist() for k in ('image_id', 'split', 'subject', 'session', 'run', 'category', 'trial')]
    shown = [digest(rec.stimuli[k]) for k in sorted(set(rec.image_id.tolist()))[:4]] if rec.stimuli else []
    return (list(rec.x.shape), sorted(rec.roi)), (digest(rec.x), shown, tables, {k: digest(v) for k, v in rec.roi.items()})

# ---- formats -------------------------------------------------------------------------------------------------------
def draw(key=0): return np.random.default_rng(key)

@known(sealed='.*')
class prepared:
    "A prepared folder, with pictures."
    def make(d):
        from visdec.sim import simulate
        rec = simulate('tiny')
        keep = np.flatnonzero(np.isin(np.arange(len(rec.x)), np.r_[:6, -6:0] % len(rec.x)))
        rec.take(keep).save(d/'rec')
    def read(d):
        from visdec.recording import Recording
        return record(Recording.load(d/'rec'))

@known(sealed='.*')
class store:
    "A store of resting rows."
    def make(d):
        from visdec.hcp import prepare_hcp
        for s in 'ab':
            (d/f'npz/sub-{s}').mkdir(parents=True)
            np.savez(d/f'npz/sub-{s}/HCP_visual_voxel.npz', **{f'V{i}': draw(i).normal(size=(40, i + 2)) for i in range(1, 5)})
        prepare_hcp(d/'npz', None, d/'store')
        shutil.rmtree(d/'npz')
    def read(d):
        from visdec.hcp import load_hcp
        return record(load_hcp(d/'store'))

@known(sealed='.*')           # a zip carries checksums
class hcp_npz:
    "Ready files of the HCP."
    def make(d):
        for s in 'ab':
            (d/f'sub-{s}').mkdir()
            np.savez(d/f'sub-{s}/HCP_visual_voxel.npz', **{f'V{i}': draw(i).normal(size=(40, i + 2)) for i in range(1, 5)})
    def read(d):
        from visdec.hcp import load_hcp
        return record(load_hcp(d))

@known()
class cifti:
    "A run and an atlas on the surface."
    def make(d):
        import nibabel as nib
        from nibabel.cifti2 import BrainModelAxis, LabelAxis, SeriesAxis
        names = ['CIFTI_STRUCTURE_CORTEX_LEFT', 'CIFTI_STRUCTURE_CORTEX_RIGHT']
        a, b = (BrainModelAxis.from_surface(np.arange(4, 40), 40, name=n) for n in names)
        axis, table, keys = a + b, {0: ('???', (1., 1., 1., 0.))}, np.zeros(72, 'f4')
        for i in range(4):
            for s, side in enumerate('LR'):
                table[10*s + i + 1] = (f'{side}_V{i+1}_ROI', (1., 0., 0., 1.))
                keys[36*s + 6*i:36*s + 6*i + 5] = 10*s + i + 1
        for name, x, head, intent in (
                ('run.dtseries', draw().normal(size=(20, 72)).astype('f4'), SeriesAxis(0, .72, 20), 'ConnDenseSeries'),
                ('atlas.dlabel', keys[None], LabelAxis(['areas'], [table]), 'ConnDenseLabel')):
            img = nib.Cifti2Image(x, header=(head, axis))
            img.nifti_header.set_intent(intent)
            img.to_filename(d/f'{name}.nii')
    def read(d):
        from visdec.cifti import read_visual
        parts = read_visual(d/'run.dtseries.nii', d/'atlas.dlabel.nii')
        return {k: v.shape[0] for k, v in parts.items()}, digest(*parts.values())

def nifti(path, values, tr=None, affine=None):
    import nibabel as nib
    img = nib.Nifti1Image(values, np.diag([3., 3, 3, 1]) if affine is None else affine)
    if tr:
        img.header.set_zooms((3, 3, 3, tr))
        img.header.set_xyzt_units('mm', 'sec')
    nib.save(img, path)

def write_scan(d, end):
    mask = np.zeros((4, 3, 2), np.uint8)
    mask[1:, 1:, 0] = 1
    nifti(d/f'mask.nii{end}', mask)
    nifti(d/f'bold.nii{end}', (1000 + draw().normal(size=(4, 3, 2, 12))).astype('f4'), 2.)

def read_scan(d, end):
    from visdec.runs import open_image, read_bold, read_mask
    img = open_image(d/f'bold.nii{end}')
    mask = read_mask(d/f'mask.nii{end}', img)
    y = read_bold(img, mask)
    return (img.shape, img.affine.round(2).tolist()), (digest(mask), digest(y))

@known(sealed='.*')
class nifti_gz:
    "Scan and mask, compressed: gzip carries a checksum."
    def make(d): write_scan(d, '.gz')
    def read(d): return read_scan(d, '.gz')

@known()
class nifti_plain:
    "Scan and mask, not compressed."
    def make(d): write_scan(d, '')
    def read(d): return read_scan(d, '')

@known(text=r'.*\.(tsv|json)')
class tables:
    "The tables of a run."
    def make(d):
        rows = [('onset', 'duration', 'trial_type', 'stim_file'), (0, 8, 'rest', 'n/a')]
        rows += [(8 + 4*i, 2, 'image', f'{i}.png') for i in range(12)]
        (d/'sub-01_task-img_events.tsv').write_text('\n'.join('\t'.join(map(str, r)) for r in rows) + '\n')
        (d/'bold.json').write_text(json.dumps(dict(RepetitionTime=2., StartTime=.5, SliceTiming=[0, 1], TaskName='img')))
        nifti(d/'bold.nii.gz', np.ones((2, 2, 2, 4), 'f4'), 2.)
    def read(d):
        from visdec.runs import open_image, read_events, read_timing
        e = read_events(d/'sub-01_task-img_events.tsv')
        timing = read_timing(d/'bold.json', open_image(d/'bold.nii.gz'))
        return {k: v.tolist() for k, v in e.items() if k != 'row'}, timing

@known(text=r'.*\.(tsv|json)')
class study:
    "A small BIDS study with confounds, through the regression."
    def make(d):
        func, out = d/'sub-01/func', d/'derivatives/fmriprep/sub-01/func'
        func.mkdir(parents=True)
        out.mkdir(parents=True)
        rows = [('onset', 'duration', 'trial_type', 'stim_file')] + [(6 + 8*i, 2, 'image', f'{i}.png') for i in range(6)]
        (func/'sub-01_task-img_events.tsv').write_text('\n'.join('\t'.join(map(str, r)) for r in rows) + '\n')
        stem = out/'sub-01_task-img_space-T1w_desc'
        nifti(f'{stem}-preproc_bold.nii.gz', (1000 + 5*draw().normal(size=(3, 3, 2, 40))).astype('f4'), 2.)
        nifti(f'{stem}-brain_mask.nii.gz', np.ones((3, 3, 2), np.uint8))
        Path(f'{stem}-preproc_bold.json').write_text(json.dumps(dict(RepetitionTime=2., StartTime=0.)))
        names = ['csf', 'white_matter', *(f'{k}_{a}' for k in ('trans', 'rot') for a in 'xyz')]
        table = draw(1).normal(size=(40, 8)).round(4).astype(str)
        told = out/'sub-01_task-img_desc-confounds_timeseries.tsv'
        told.write_text('\n'.join('\t'.join(r) for r in [names, *table]) + '\n')
        told.with_suffix('.json').write_text('{}')
    def read(d):
        from visdec.bids import load_bids
        return record(load_bids(d, 'img', '01', images=False))

def bdata():
    n, v = 24, 12
    names = [f'n{10000000 + 1000*i:08d}_{i + 5}' for i in range(12)]
    image = np.r_[np.arange(8), np.tile(np.arange(8, 12), 4)]
    number = np.array([int(names[i][1:9]) + int(names[i][10:])/1e6 for i in image])
    columns = dict(Run=np.repeat([1, 2, 3], 8), DataType=np.repeat([1, 2, 2], 8), stimulus_id=number)
    x, m = draw().normal(size=(n, v)), v + 3
    nan, rows = np.full(3, np.nan), {'VoxelData': np.r_[np.ones(v), np.full(3, np.nan)]}
    for i, k in enumerate(('V1', 'V2', 'V3', 'V4', 'LOC', 'FFA', 'PPA', 'LVC', 'HVC', 'VC')):
        rows[f'ROI_{k}'] = np.r_[(np.arange(v) % 10 == i) | (k == 'VC'), nan]
    rows |= {k: np.where(np.arange(m) == v + j, 1., np.nan) for j, k in enumerate(columns)}
    return np.column_stack([x, *columns.values()]).astype(float), list(rows), np.array(list(rows.values()), float)

def read_god(path):
    from visdec.god import load_god
    return record(load_god(path, 1))

@known()
class god_h5:
    "BData as HDF5."
    def make(d):
        import h5py
        table, keys, value = bdata()
        with h5py.File(d/'Subject1.h5', 'w') as f:
            f['dataset'], f['metadata/key'], f['metadata/value'] = table, np.array(keys, 'S'), value
    def read(d): return read_god(d/'Subject1.h5')

@known()
class god_mat5:
    "BData as MATLAB 5, not compressed."
    def make(d):
        from scipy.io import savemat
        table, keys, value = bdata()
        cell = np.empty((1, len(keys)), object)
        cell[0] = keys
        savemat(d/'Subject1.mat', dict(dataSet=table, metaData=dict(key=cell, value=value)))
    def read(d): return read_god(d/'Subject1.mat')

@known()
class god_mat73:
    "BData as MATLAB 7.3."
    def make(d):
        import h5py
        table, keys, value = bdata()
        with h5py.File(d/'Subject1.mat', 'w', userblock_size=512) as f:
            f.create_dataset('dataSet', data=table.T).attrs['MATLAB_class'] = np.bytes_('double')
            f['metaData/value'] = value.T
            for i, k in enumerate(keys):
                f[f'#refs#/{i}'] = np.array([[ord(c)] for c in k], np.uint16)
            f['metaData/key'] = np.array([[f[f'#refs#/{i}'].ref] for i in range(len(keys))], dtype=h5py.ref_dtype)
    def read(d): return read_god(d/'Subject1.mat')

@known(text=r'.*\.tsv')
class god_imagery:
    "Deep Image Reconstruction: seen pictures, numbered imagery, and the table of names beside it."
    def make(d):
        import h5py
        table, keys, value = bdata()
        seen = [k for k in keys if k != 'DataType']
        first = table[:, -1:]                              # numbers of pictures
        for name, rows, own in (('perceptionNaturalImageTraining', slice(0, 8), first), ('perceptionNaturalImageTest', slice(8, 24), first),
                                ('imagery', slice(8, 20), np.tile([1., 2, 26], 8)[:, None])):
            with h5py.File(d/f'sub-01_{name}_original_VC.h5', 'w') as f:
                f['dataset'] = np.c_[table[:, :-2], own][rows]
                f['metadata/key'] = np.array([k.replace('stimulus_id', 'Label') for k in seen], 'S')
                f['metadata/value'] = np.delete(np.array([v for k, v in zip(keys, value) if k != 'DataType']), -2, 1)
        (d/'names.tsv').write_text('name\tpicture\n1\tring.tiff\n2\tplus.png\n26\tn/a\n')
    def read(d):
        from visdec.god import load_god
        return record(load_god(d, 1, names=d/'names.tsv'))

@known()
class digits:
    "MATLAB 5, compressed."
    def make(d):
        from scipy.io import savemat
        g, data = draw(), {}
        for part, m in (('Trn', 90), ('Test', 10)):
            data[f'fmri{part}'], data[f'stim{part}'] = g.normal(size=(m, 9)), g.integers(0, 256, (m, 784), np.uint8)
            data[f'label{part}'] = (1 + (np.arange(m) >= m//2)).astype(np.uint8)[:, None]
        savemat(d/'digits.mat', data, do_compression=True)
    def read(d):
        from visdec.digits import load_digits69
        return record(load_digits69(d/'digits.mat'))

def own_arrays():
    g = draw()
    return dict(fmri=g.normal(size=(12, 7)), stim=np.array([f'{i % 6}.png' for i in range(12)]), roi_V1=np.arange(7) < 3,
                split=np.where(np.arange(12) % 6 < 4, 'train', 'test'), run=np.arange(12)//6)

@known(sealed='.*')           # a zip carries checksums
class arrays_npz:
    "One's own arrays in one archive."
    def make(d): np.savez(d/'own.npz', **own_arrays())
    def read(d):
        from visdec.bids import load_arrays
        return record(load_arrays(d/'own.npz', False))

@known()
class arrays_npy:
    "One's own arrays in several files."
    def make(d):
        for k, v in own_arrays().items():
            np.save(d/f'{k}.npy', v)
    def read(d):
        from visdec.bids import load_arrays
        return record(load_arrays(d, False))

@known(text=r'.*\.txt')
class bold5000:
    "Betas and lists of BOLD5000."
    def make(d):
        betas = d/'BOLD5000_GLMsingle_ROI_betas/py'
        lists = d/'Stimuli_Presentation_Lists/CSI1/CSI1_sess01'
        for f in (betas, lists, d/'Scene_Stimuli'):
            f.mkdir(parents=True)
        names = [f'COCO_train2014_{i:012d}.jpg' for i in range(10)]
        for i, k in enumerate(('EarlyVis', 'LOC', 'OPA', 'PPA', 'RSC')):
            for j, s in enumerate(('LH', 'RH')):
                np.save(betas/f'CSI1_GLMbetas-TYPED-FITHRF-GLMDENOISE-RR_allses_{s}{k}.npy', draw(2*i + j).normal(size=(12, 3)))
        for r in (1, 2):
            shown = [*names[5*r - 5:5*r], 'rep_'*(r > 1) + 'shop5.jpg']
            (lists/f'CSI_sess01_run{r:02d}.txt').write_text('\n'.join(shown) + '\n')
        (d/'Scene_Stimuli/repeated_stimuli_113_list.txt').write_text('shop5.jpg\n')
    def read(d):
        from visdec.bold5000 import load_bold5000
        return record(load_bold5000(d, 'CSI1'))

@known()
class objects:
    "A pickled dict of pictures, as `.npy`."
    def make(d): np.save(d/'img_dict.npy', {f'{i}.jpg': draw(i).integers(0, 256, (4, 4, 3), np.uint8) for i in range(4)}, allow_pickle=True)
    def read(d):
        from visdec.bold5000 import _from_pickle
        made = _from_pickle(d/'img_dict.npy', [f'{i}.jpg' for i in range(4)])
        return [made[k].shape for k in made], digest(*made.values())

@known()
class checkpoint:
    "A published checkpoint: a zip, so its bytes carry checksums; torch does not look at them."
    def make(d):
        import torch
        torch.save(dict(model={'a.weight': torch.arange(12.).reshape(3, 4), 'a.bias': torch.ones(3)}, config=dict(heads=4)), d/'w.ckpt')
    def read(d):
        from visdec.checkpoints import read_reference
        config, state = read_reference(d/'w.ckpt')
        return (config, {k: list(v.shape) for k, v in state.items()}), digest(*(v.numpy() for v in state.values()))

@known()
class safetensors:
    "A saved linear map."
    def make(d):
        from visdec.ridge import LinearMap
        g = draw()
        LinearMap(*(g.normal(size=n).astype(np.float32) for n in ((5, 12), 12, 12, 12)), (2, 2, 3)).save(d/'map.safetensors')
    def read(d):
        from visdec.ridge import LinearMap
        held = vars(m) if hasattr(m := LinearMap.load(d/'map.safetensors'), '__dict__') else m._asdict()
        parts = {k: np.asarray(v) for k, v in held.items()}
        return {k: list(v.shape) for k, v in parts.items()}, digest(*parts.values())

@known(sealed='.*/result/.*', text=r'.*\.json')
class run:
    "A finished run: results, choices, pictures, stages."
    def make(d):
        from dataclasses import asdict
        from visdec.presets import make_config
        from visdec.stages import Stages, load_arrays, save_arrays
        config = make_config('tiny')
        stages = Stages(d)
        stages('codec', dict(a=1), lambda f: dict(x=np.arange(5.)), save_arrays, load_arrays)
        for f in d.rglob('done.json'):
            f.write_text(json.dumps(json.loads(f.read_text()) | dict(seconds=1.)))
        (d/'config.json').write_text(json.dumps(asdict(config)))
        table = [dict(decoder='ours', role='decoder', n=4, pixcorr=.5)]
        (d/'results.json').write_text(json.dumps(dict(table=table, config={}, about=dict(seconds={}), protocols={}, target={'ours': [0, 1]})))
        np.savez(d/'pictures.npz', shown=draw().integers(0, 256, (2, 1, 4, 4, 3), np.uint8), ours=np.zeros((2, 1, 4, 4, 3), np.uint8))
    def read(d):
        from visdec.pipeline import load_results
        from visdec.stages import Stages, load_arrays
        r = load_results(d)
        x = load_arrays(Stages(d).result('codec'))
        return ((r.table, {k: v.shape for k, v in r.pictures.items()}, repr(r.config), {k: v.tolist() for k, v in r.target.items()},
                 {k: v.shape for k, v in x.items()}), (digest(*r.pictures.values()), digest(*x.values())))

@known()
class pictures:
    "Pictures of every kind."
    def make(d):
        from PIL import Image
        a = Image.fromarray(draw().integers(0, 256, (9, 11, 3), np.uint8))
        for end in ('png', 'jpg', 'tif', 'gif', 'bmp', 'webp'):
            a.save(d/f'a.{end}')
    def read(d):
        from visdec.recording import as_picture
        made = [as_picture(d/f'a.{end}') for end in ('png', 'jpg', 'tif', 'gif', 'bmp', 'webp')]
        return [p.dtype.name for p in made], [digest(p) for p in made]

@known(text='.*')
class settings:
    "Choices of a preparation, as TOML, and a model's, as YAML."
    def make(d):
        from visdec.prepare import write_preparation
        write_preparation(dict(source='bids', src='/x', task='img', size=32, tr=2.), d/'study.toml')
        (d/'ldm.yaml').write_text('model:\n  params:\n    linear_start: 0.0015\n    unet_config: {params: {a: 1, b: [1, 2]}}\n'
                                  '    first_stage_config:\n      params: {n: 8, z: "${model.params.linear_start}"}\n')
    def read(d):
        from visdec.ldm import read_yaml
        from visdec.prepare import read_preparation
        return read_preparation(d/'study.toml'), read_yaml(d/'ldm.yaml')

@known(text=r'.*\.tsv')
class nsd:
    "Design, responses and pictures of NSD, shortened."
    def make(d):
        import h5py
        from scipy.io import savemat
        g = draw()
        savemat(d/'nsd_expdesign.mat', dict(masterordering=g.integers(1, 31, (1, 750)).astype(float), sharedix=np.arange(1, 11.)[None],
                                            subjectim=np.stack([g.permutation(60)[:30] + 1. for _ in range(8)])))
        with h5py.File(d/'nsd_stimuli.hdf5', 'w') as f:
            f['imgBrick'] = g.integers(0, 256, (12, 5, 5, 3), np.uint8)
        rows = [('SUBJECT', 'SESSION', 'RUN', '73KID')] + [(1, 1, 1 + i//63, i + 1) for i in range(126)]
        (d/'responses.tsv').write_text('\n'.join('\t'.join(map(str, r)) for r in rows) + '\n')
    def read(d):
        from visdec.nsd import Brick, read_design, read_responses
        design, brick = read_design(d/'nsd_expdesign.mat'), Brick(d/'nsd_stimuli.hdf5', None)
        runs = read_responses(d/'responses.tsv', [1], np.arange(126) + 1)
        return ([a.shape for a in design], brick.shape, runs.tolist()), (digest(*design), digest(*(brick[i] for i in range(len(brick)))))

@known()
class nsd_betas:
    "A session of NSD's betas in both forms."
    def make(d):
        import h5py
        x = draw().integers(-300, 300, (3, 4, 2, 750)).astype(np.int16)
        nifti(d/'betas_session01.nii.gz', x)
        with h5py.File(d/'betas_session01.hdf5', 'w') as f:
            f.create_dataset('betas', data=x.T, chunks=(750, 1, 1, 1))
    def read(d):
        from visdec.nsd import read_betas
        mask = np.ones((3, 4, 2), bool)
        a, b = (read_betas(d/f'betas_session01.{e}', mask, np.diag([3., 3, 3, 1])) for e in ('hdf5', 'nii.gz'))
        return (a.shape, b.shape), (digest(a), digest(b))

# ---- damages -------------------------------------------------------------------------------------------------------
ODD_JSON = [None, -1, 1e308, float('nan'), 'x', [], {}, True, [[1]], {'a': 1}]
HUGE = [2**31 - 1, 2**32 - 1, 2**40, 2**62, 2**63 - 1, 0, 2**15 - 1, 2**16 - 1]

def leaves(x, at=()):
    items = x.items() if isinstance(x, dict) else enumerate(x) if isinstance(x, list) else ()
    for k, v in items:
        yield (*at, k)
        yield from leaves(v, (*at, k))

def flip(r, b):
    for _ in range(r.choice([1, 1, 1, 2, 8])):
        b[r.randrange(len(b))] ^= 1 << r.randrange(8)

def flip_early(r, b): b[r.randrange(min(len(b), 400))] ^= 1 << r.randrange(8)

def replace(r, b):
    i, n = r.randrange(len(b)), r.choice([1, 2, 4, 64])
    b[i:i+n] = bytes(r.choice([0, 255, r.randrange(256)]) for _ in b[i:i+n])

def huge(r, b):
    i, size = r.randrange(min(len(b), 600)), r.choice([2, 4, 8])
    part = (r.choice(HUGE) % 2**(8*size)).to_bytes(size, r.choice(['little', 'big']))
    b[i:i+size] = part[:len(b[i:i+size])]

def digits_grow(r, b):
    at = [m.span() for m in re.finditer(rb'\d+', bytes(b[:1500]))]
    if at:
        i, j = r.choice(at)
        b[i:j] = r.choice([b'9'*(j - i), b'9'*18, b'-1', b'0', b'1e400'])

def truncate(r, b): del b[r.choice([0, 1, r.randrange(len(b)), len(b) - 1, len(b) - 8, len(b)//2]):]
def empty(r, b): b.clear()
def insert(r, b): b[(i := r.randrange(len(b))):i] = r.randbytes(r.choice([1, 3, 100]))
def cut(r, b): del b[(i := r.randrange(len(b))):i + r.choice([1, 4, 100])]
def again(r, b): b.extend(bytes(b))
def magic(r, b): b[:8] = r.choice([b'PK\x03\x04', b'\x89HDF\r\n\x1a\n', b'\x93NUMPY\x01\x00', b'\x80\x05', b'\x1f\x8b\x08', b'<html>', b'[[[[[[[['])[:8]
def latin(r, b): b[(i := r.randrange(len(b))):i] = r.choice([b'\xe9', b'\x00', b'\xff\xfe', b'\r'])

BYTES = [flip, flip, flip_early, replace, huge, huge, digits_grow, truncate, empty, insert, cut, again, magic, latin]

def odd_type(r, path):
    "A value of JSON of another kind."
    x = json.loads(path.read_text())
    at = list(leaves(x))
    if not at:
        return path.write_text(json.dumps(r.choice(ODD_JSON)))
    *way, last = r.choice(at)
    here = x
    for k in way:
        here = here[k]
    was = here[last]
    here[last] = r.choice([v for v in ODD_JSON if type(v) is not type(was)])
    path.write_text(json.dumps(x))

def table_damage(r, path):
    "One thing wrong with a table; the right answer is to refuse it, or the same value."
    end = ',' if path.suffix == '.csv' else '\t'
    rows = [line.split(end) for line in path.read_text().splitlines()]
    kind = r.choice(['order', 'twice', 'head', 'torn', 'nan'])
    if kind == 'order' and len(rows[0]) > 1:
        i, j = r.sample(range(len(rows[0])), 2)
        for row in rows:
            row[i], row[j] = row[j], row[i]
    elif kind == 'twice':
        rows.insert(i := r.randrange(1, len(rows)), list(rows[i]))
    elif kind == 'head':
        rows[0][r.randrange(len(rows[0]))] = rows[0][0] if len(rows[0]) > 1 else ''
    elif kind == 'torn':
        rows[r.randrange(1, len(rows))].pop()
    else:
        number = [j for j in range(len(rows[0])) if all(re.fullmatch(r'-?[\d.]+', row[j]) for row in rows[1:])]
        if number:
            rows[r.randrange(1, len(rows))][r.choice(number)] = r.choice(['nan', 'inf', '-inf', 'x', '', '1e999'])
    path.write_text('\n'.join(map(end.join, rows)) + '\n')

def place_damage(r, path, files):
    "Something else in the place of a file."
    kind = r.choice(['away', 'folder', 'nowhere', 'loop', 'device', 'other'])
    path.unlink()
    if kind == 'folder':
        path.mkdir()
    elif kind in ('nowhere', 'loop', 'device'):
        path.symlink_to(dict(nowhere='/nowhere/at-all', loop=path, device='/dev/zero')[kind])
    elif kind == 'other' and len(files) > 1:
        shutil.copy(r.choice([f for f in files if f != path]), path)

def damage(r, folder, spec):
    "Damage one file of a folder: what was done, to which file, and whether another value is a finding there."
    files = sorted(f for f in folder.rglob('*') if f.is_file())
    path = r.choice(files)
    name, how = path.relative_to(folder).as_posix(), [*BYTES, 'place']
    how += ['type']*4*(path.suffix == '.json') + ['table']*8*(path.suffix in ('.tsv', '.csv'))
    do = r.choice(how)
    sealed, text = spec.sealed.fullmatch(name), spec.text.fullmatch(name)
    if do == 'place':
        place_damage(r, path, files)
    elif do == 'type':
        odd_type(r, path)
    elif do == 'table':
        table_damage(r, path)
    else:
        data = bytearray(path.read_bytes())
        if data:
            do(r, data)
        path.write_bytes(data)
        do = do.__name__
    # of files that nothing lists, one that is away or another one is no change that anybody could see
    loose = do == 'place' and spec.__name__ not in ('prepared', 'store') and '/result/' not in name
    strict = 'text' if loose else 'sealed' if sealed else 'text' if text and do not in ('table',) else 'table' if text else 'binary'
    return do, name, strict

# ---- one case ------------------------------------------------------------------------------------------------------
ROOM = 2*2**30                              # bytes of address space that a reader may add
GROWS = 400*2**20                           # bytes of memory

def memory(): return int(Path('/proc/self/statm').read_text().split()[0])*os.sysconf('SC_PAGE_SIZE')

def plain(x): return json.loads(json.dumps(x, default=str))

def outcome(spec, folder, loud=False):
    "What a reader makes of a folder: (word, detail)."
    try:
        return 'value', plain(spec.read(folder))
    except DataError as e:
        return ('MEMORY' if 'MemoryError' in str(e) or 'Unable to allocate' in str(e) else 'refused'), str(e)[:300]
    except MemoryError as e:
        return 'MEMORY', f'{type(e).__name__}: {e}'
    except Exception as e:
        if loud:
            traceback.print_exc()
        last = traceback.extract_tb(e.__traceback__)
        own = next((f for f in last[::-1] if 'visdec' in f.filename and 'fuzz' not in f.filename), last[-1])
        return 'RAW', f'{type(e).__name__}: {str(e)[:150]} ({Path(own.filename).name}, {own.name})'

def apart(spec, folder, limit, loud=False):
    "The same in a process of its own, within limits."
    get, put = os.pipe()
    sys.stdout.flush()
    if not (pid := os.fork()):
        try:
            os.close(get)
            if not loud:
                for n in (1, 2):
                    os.dup2(os.open(os.devnull, os.O_WRONLY), n)
            resource.setrlimit(resource.RLIMIT_AS, (memory() + ROOM,)*2)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            word, found = outcome(spec, folder, loud)
            grown = 1024*(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
            if grown > GROWS:
                word, found = 'MEMORY', f'{grown >> 20} MB more'
            os.write(put, json.dumps([word, found]).encode())
        finally:
            os._exit(0)
    os.close(put)
    said, until = b'', time.monotonic() + limit
    while (left := until - time.monotonic()) > 0:
        if select.select([get], [], [], left)[0]:
            part = os.read(get, 2**16)
            if not part:
                break
            said += part
    os.close(get)
    if left <= 0:
        os.kill(pid, signal.SIGKILL)
    status = os.waitpid(pid, 0)[1]
    if left <= 0:
        return 'HANG', f'no end within {limit} s'
    return tuple(json.loads(said)) if said else ('RAW', f'the process ended with status {status}')

def judge(word, found, right, strict):
    "The word for an outcome, given the value of the whole files."
    if word != 'value' or found == right:
        return 'right' if word == 'value' else word
    if strict in ('sealed', 'table'):
        return 'SILENT'
    if strict == 'text':
        return 'said'
    return 'payload' if found[0] == right[0] else 'SILENT'

def case(name, seed, number, whole, right, limit, work, loud=False):
    "One damage and its outcome: word, detail, what was damaged, folder."
    spec, folder = FORMATS[name], Path(work)/'case'
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(whole, folder)
    how, file, strict = damage(random.Random(f'{name}|{seed}|{number}'), folder, spec)
    word, found = apart(spec, folder, limit, loud)
    said = judge(word, found, right, strict)
    return said, found if said != 'SILENT' else 'another value, without a word', f'{how} of {file}', folder

def prepare_formats(names, work):
    "The whole files of each format, and their value."
    out = {}
    for name in names:
        whole = Path(work)/name
        whole.mkdir()
        FORMATS[name].make(whole)
        word, right = outcome(FORMATS[name], whole, True)
        if word != 'value':
            raise SystemExit(f'{name}: the whole files cannot be read: {right}')
        out[name] = whole, right
    return out

def main(argv=None):
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--seconds', type=float, default=60)
    p.add_argument('--seed', type=int, default=0)
    p.add_argument('--only', default='', help=', '.join(FORMATS))
    p.add_argument('--case', type=int)
    p.add_argument('--cases', type=int, help='of each format; then --seconds does not count')
    p.add_argument('--limit', type=float, default=20, help='seconds for one case')
    p.add_argument('--keep', default=str(Path(tempfile.gettempdir())/'visdec-fuzz'))
    a = p.parse_args(argv)
    names = a.only.split(',') if a.only else list(FORMATS)
    if unknown := [n for n in names if n not in FORMATS]:
        raise SystemExit(f'no such format: {unknown}; there are {", ".join(FORMATS)}')
    warnings.simplefilter('ignore')
    start, count, findings, alike = time.monotonic(), {n: Counter() for n in names}, 0, Counter()
    with tempfile.TemporaryDirectory() as work:
        whole = prepare_formats(names, work)
        if a.case is not None:
            said, found, what, folder = case(names[0], a.seed, a.case, *whole[names[0]], a.limit, work, True)
            print(f'{names[0]} {a.seed} {a.case}: {said}; {what}; {found}')
            return said in FINDINGS
        number, start = 0, time.monotonic()
        while number < a.cases if a.cases else time.monotonic() - start < a.seconds:
            for name in names:
                said, found, what, folder = case(name, a.seed, number, *whole[name], a.limit, work)
                count[name][said] += 1
                if said in FINDINGS:
                    findings += 1
                    alike[key := (name, said, re.sub(r'\d+', '#', str(found))[:90])] += 1
                    if alike[key] <= 2:
                        shutil.copytree(folder, Path(a.keep)/f'{name}-{a.seed}-{number}', dirs_exist_ok=True, symlinks=True)
                        print(f'{said} {name}: {what}: {found}\n    python .github/tools/fuzz.py --only {name} --seed {a.seed} '
                              f'--case {number}', flush=True)
            number += 1
            if number % 50 == 0:
                done = sum(sum(c.values()) for c in count.values())
                print(f'{done} cases, {findings} findings, {time.monotonic() - start:.0f} s', flush=True)
    words = ['right', 'refused', 'payload', 'said', *FINDINGS]
    print(f"{'':12s}" + ''.join(f'{w:>9s}' for w in words))
    total = sum(count.values(), Counter())
    for name, c in [*count.items(), ('all', total)]:
        print(f'{name:12s}' + ''.join(f'{c[w]:9d}' for w in words))
    print(f'{sum(total.values())} cases of {len(names)} formats, {findings} findings')
    return findings > 0

if __name__ == '__main__':
    sys.exit(main())
