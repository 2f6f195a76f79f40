"""Test notebooks as nbdev_test does, each in its own process with a time limit.

    python .github/tools/test_nbs.py                                  all notebooks, two at a time
    python .github/tools/test_nbs.py nbs/20_patches.ipynb --workers 1
    python .github/tools/test_nbs.py --timeout 180 --flags 'slow'     seconds per notebook; flagged cells run too

Every cell runs, except those with a flag of `tst_flags` (settings.ini) and `#| eval: false`; a notebook fails at its
first failing cell. Lines that a notebook prints as `SKIPPED what` (a test whose file is not there) are listed and
counted. Models and data are never fetched (HF_HUB_OFFLINE). Ends with 'N passed, N failed in S s'; exits 1 when one failed.

A third of the time of all notebooks would be spent on importing torch and its kin again and again. So one process
imports them once, and each notebook runs in a fork of it: a process of its own, in which nothing of visdec is loaded."""
import argparse, atexit, gc, multiprocessing, os, signal, sys, tempfile, time, traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from check_outputs import ROOT, notebooks
from nbdev.config import get_config

HEAVY = ['nbdev.test', 'execnb.shell', 'torch', 'torchvision', 'timm', 'diffusers', 'matplotlib.pyplot', 'nibabel',
         'scipy.stats', 'sklearn', 'himalaya', 'skimage.metrics', 'torchmetrics', 'h5py',
         'diffusers.models.autoencoders.vq_model', 'diffusers.models.unets.unet_2d_condition', 'torch.distributed.fsdp']
LINES = 150    # of a failing notebook's output that are shown
running = set()

def whole(path, flags, forced):
    "Test one notebook in this process, as nbdev_test does; what its cells print is seen."
    from execnb.shell import CaptureShell
    from nbdev.test import test_nb
    quiet = CaptureShell.run_all
    CaptureShell.run_all = lambda self, nb, **kw: quiet(self, nb, **{**kw, 'verbose': True})
    return test_nb(path, skip_flags=flags.split(), force_flags=forced.split(), basepath=str(ROOT))[0]

def child(log, folder, job, args):
    "Run `job(*args)` as a process of its own: own session, own output, own folder; exit status 0 when it returns true."
    os.setsid()
    gc.freeze()    # what was imported before stays: a collector need not walk it again and again
    with open(log, 'wb', buffering=0) as f:
        for n in (1, 2): os.dup2(f.fileno(), n)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(folder)
    try: good = job(*args)
    except SystemExit as e: good = e.code in (0, None)
    except BaseException: good = traceback.print_exc()
    atexit._run_exitfuncs()    # temporary folders are removed by these, and multiprocessing leaves without them
    for s in (sys.stdout, sys.stderr): s.flush()
    os._exit(0 if good else 1)

def kill(p):
    try: os.killpg(p.pid, signal.SIGKILL)
    except ProcessLookupError: pass

def stop(*_):
    "Leave no notebook running when this process is told to end."
    for p in list(running): kill(p)
    os._exit(143)

def run(job, f, args, timeout):
    "Run `job(*args)` beside notebook `f`: was it good, its seconds, why not, and what it printed."
    start = time.time()
    with tempfile.NamedTemporaryFile() as log:
        p = multiprocessing.get_context('forkserver').Process(target=child, args=(log.name, f.parent, job, args))
        p.start()
        running.add(p)
        p.join(timeout)
        why = None if p.exitcode is not None else f'over {timeout:g} s'
        kill(p)    # and whatever it left behind
        p.join()
        running.discard(p)
        out = Path(log.name).read_text(errors='replace')
    if p.exitcode and not why: why = f'exit {p.exitcode}' if p.exitcode > 0 else f'signal {-p.exitcode}'
    return why is None, time.time()-start, why, out

def prepare(workers, many=True, **env):
    "Set what every notebook finds in its environment, and what is imported once for all of them."
    os.environ.update({'IN_TEST': '1', 'MPLBACKEND': 'agg', **env})
    os.environ.setdefault('HF_HUB_OFFLINE', '1')
    if workers > 1: os.environ.setdefault('OMP_NUM_THREADS', str(max(1, (os.cpu_count() or 1)//workers)))
    if many: multiprocessing.get_context('forkserver').set_forkserver_preload(HEAVY)    # what is missing is passed over
    for s in (signal.SIGTERM, signal.SIGINT): signal.signal(s, stop)

def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('paths', nargs='*')
    ap.add_argument('--flags', default='', help='flags whose cells run too')
    ap.add_argument('--timeout', type=float, default=300, help='seconds for one notebook')
    ap.add_argument('--workers', type=int, default=2, help='notebooks at a time')
    a = ap.parse_args()
    files, flags, start, res, skips = notebooks(a.paths), get_config(path=ROOT).tst_flags, time.time(), [], []
    prepare(a.workers, len(files) > 1)
    with ThreadPoolExecutor(a.workers) as ex:
        for f, (ok, seconds, why, out) in zip(files, ex.map(lambda f: run(whole, f, (f, flags, a.flags), a.timeout), files)):
            res.append(ok)
            name = os.path.relpath(f, ROOT)
            print(f"{'ok  ' if ok else 'FAIL'} {seconds:6.1f}s {name}{'' if ok else f' ({why})'}", flush=True)
            if not ok: print('\n'.join(out.splitlines()[-LINES:]), flush=True)
            skips += [(name, line.strip()) for line in out.splitlines() if line.startswith('SKIPPED ')]
    for name, line in skips: print(f'{line} ({name})')
    print(f'{len(skips)} SKIPPED')
    print(f'{sum(res)} passed, {len(res)-sum(res)} failed in {time.time()-start:.1f}s')
    sys.exit(0 if res and all(res) else 1)

if __name__ == '__main__': main()
