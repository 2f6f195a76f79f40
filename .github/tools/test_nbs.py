"""Test notebooks as nbdev_test does, each in its own process with a time limit.

    python .github/tools/test_nbs.py                                  all notebooks, two at a time
    python .github/tools/test_nbs.py nbs/20_patches.ipynb --workers 1
    python .github/tools/test_nbs.py --timeout 180 --flags 'slow'     seconds per notebook; flagged cells run too

Every cell runs, except those with a flag of `tst_flags` (settings.ini) and `#| eval: false`; a notebook fails at its
first failing cell. Lines that a notebook prints as `SKIPPED what` (a test whose file is not there) are listed and
counted. Models and data are never fetched (HF_HUB_OFFLINE). Ends with 'N passed, N failed in S s'; exits 1 when one failed."""
import argparse, os, signal, subprocess, sys, time
from concurrent.futures import ThreadPoolExecutor

from check_outputs import ROOT, notebooks
from nbdev.config import get_config

ONE = """
import sys; from pathlib import Path
from execnb.shell import CaptureShell
from nbdev.test import test_nb
quiet = CaptureShell.run_all
CaptureShell.run_all = lambda self, nb, **kw: quiet(self, nb, **{**kw, 'verbose': True})    # what cells print is seen
ok, _ = test_nb(Path(sys.argv[1]), skip_flags=sys.argv[2].split(), force_flags=sys.argv[3].split(), basepath=sys.argv[4])
sys.stdout.flush(); sys.stderr.flush(); sys.exit(0 if ok else 1)
"""
LINES = 150    # of a failing notebook's output that are shown
running = set()

def kill(p):
    try: os.killpg(p.pid, signal.SIGKILL)
    except ProcessLookupError: pass

def stop(*_):
    "Leave no notebook running when this process is told to end."
    for p in list(running): kill(p)
    os._exit(143)

def run(f, a, cfg):
    start = time.time()
    env = {**os.environ, 'IN_TEST': '1', 'MPLBACKEND': 'agg'}
    env.setdefault('HF_HUB_OFFLINE', '1')
    if a.workers > 1: env.setdefault('OMP_NUM_THREADS', str(max(1, (os.cpu_count() or 1)//a.workers)))
    p = subprocess.Popen([sys.executable, '-c', ONE, str(f), cfg.tst_flags, a.flags, str(ROOT)], env=env, stdin=subprocess.DEVNULL,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors='replace', start_new_session=True, cwd=f.parent)
    running.add(p)
    try: out, why = p.communicate(timeout=a.timeout)[0], None
    except subprocess.TimeoutExpired:
        kill(p); out, why = p.communicate()[0], f'over {a.timeout:g} s'
    running.discard(p)
    if p.returncode and not why: why = f'exit {p.returncode}' if p.returncode > 0 else f'signal {-p.returncode}'
    return f, p.returncode == 0, time.time()-start, why, out

def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('paths', nargs='*')
    ap.add_argument('--flags', default='', help='flags whose cells run too')
    ap.add_argument('--timeout', type=float, default=300, help='seconds for one notebook')
    ap.add_argument('--workers', type=int, default=2, help='notebooks at a time')
    a = ap.parse_args()
    for s in (signal.SIGTERM, signal.SIGINT): signal.signal(s, stop)
    cfg, start, res, skips = get_config(path=ROOT), time.time(), [], []
    with ThreadPoolExecutor(a.workers) as ex:
        for f, ok, seconds, why, out in ex.map(lambda f: run(f, a, cfg), notebooks(a.paths)):
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
