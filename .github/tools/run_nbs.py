"""Run notebooks in a real Jupyter kernel and store small, stable outputs with the hash of the code that made them.

    python .github/tools/run_nbs.py nbs/20_patches.ipynb     run one, or several, or a folder
    python .github/tools/run_nbs.py                          run all below nbs/
    python .github/tools/run_nbs.py --check                  write nothing, say whose outputs a run would change
    python .github/tools/run_nbs.py --flags 'gpu data' ...   run the cells with these flags too
    python .github/tools/run_nbs.py --stamp nbs/x.ipynb      store the hash only: for an edit that changes no output

Cells marked `#| eval: false`, or with a flag of `tst_flags` (settings.ini) not named in --flags, keep their outputs.
The hash stands in `metadata.visdec.code`; check_outputs.py compares it with the code without running anything.
Progress bars, widget views and execution counts are not stored. Exits 1 when a notebook fails, is too big, or,
with --check, is stale."""
import argparse, difflib, os, re, sys, time

import nbformat
from check_outputs import MAX_KB, ROOT, code_hash, notebooks
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbdev.clean import clean_nb
from nbdev.config import get_config

DIREC = re.compile(r'^#\|\s*(\S.*)$', re.M)
VIEW = 'application/vnd.jupyter.widget-view+json'
BAR = re.compile(r'\d+%\||\d+it \[|\b(SyncActivityProfilerHandler|DeviceProperties)\.cpp:\d+\]')    # of tqdm; of torch's own profiler
PLACE = re.compile(r'\S*/ipykernel_\d+/\d+\.py:\d+: ')    # of a warning: other in every run

MADE = re.compile(r'/(?:var/folders/\S+?/T|tmp)/tmp\w{8}\b')       # a folder of tempfile: other in every run

def skipped(cell, flags):
    names = {d.split()[0] for d in DIREC.findall(cell.source)}
    return bool(flags & names) or bool(re.search(r'^#\|\s*eval:\s*false', cell.source, re.M|re.I)) or 'nbdev_export(' in cell.source

class Client(NotebookClient):
    skip = set()
    async def async_execute_cell(self, cell, cell_index, **kw):
        if cell.cell_type == 'code' and skipped(cell, self.skip): return cell
        return await super().async_execute_cell(cell, cell_index, **kw)

def anywhere(text):
    "A text without the places of this machine."
    return MADE.sub('/tmp/...', text).replace(f'{ROOT}/', '').replace(f'{os.path.expanduser("~")}/', '~/')

def still(output):
    "The output without progress bars and places, as text or as widgets; None where nothing is left."
    if output.output_type == 'stream' and output.name == 'stderr':
        output.text = anywhere(PLACE.sub('', ''.join(line for line in output.text.splitlines(True) if not BAR.search(line))))
        return output if output.text.strip() else None
    if 'text' in output: output.text = anywhere(output.text)
    if 'text/plain' in output.get('data', {}): output.data['text/plain'] = anywhere(output.data['text/plain'])
    bar = VIEW in output.get('data', {}) and BAR.search(output.data.get('text/plain', ''))
    return None if bar else output

def tidy(nb, cfg):
    nb.metadata.pop('widgets', None)
    for c in nb.cells:
        if c.cell_type != 'code': continue
        c.outputs = [o for o in map(still, c.outputs) if o]
        for o in c.outputs: o.get('data', {}).pop(VIEW, None)     # a random id; text/plain stays
    nb.metadata['visdec'] = {'code': code_hash(nb)}
    clean_nb(nb, allowed_metadata_keys=cfg.allowed_metadata_keys.split(),
             allowed_cell_metadata_keys=cfg.allowed_cell_metadata_keys.split())

def text(nb):
    "One line for each output: what --check compares. The bytes of an image do not count."
    res = []
    for c in nb.cells:
        for o in c.get('outputs', []):
            t = o.get('text') or o.get('data', {}).get('text/plain', '') or ''.join(o.get('traceback', []))
            kinds = ','.join(sorted(k for k in o.get('data', {}) if k.startswith('image')))
            res.append(f'{c.id} {o.output_type} {kinds} {"" if kinds else t}'.rstrip())
    return res

def execute(nb, path, timeout, skip):
    client = Client(nb, timeout=timeout, kernel_name='python3', record_timing=False, coalesce_streams=True,
                    extra_arguments=['--log-level=ERROR'], resources={'metadata': {'path': str(path.parent)}})
    client.skip = skip
    client.execute()

def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('paths', nargs='*')
    ap.add_argument('--flags', default='', help='flags whose cells run too')
    ap.add_argument('--check', action='store_true', help='write nothing')
    ap.add_argument('--stamp', action='store_true', help='store the hash without running')
    ap.add_argument('--timeout', type=int, default=600, help='seconds for one cell')
    a = ap.parse_args()
    cfg, bad = get_config(path=ROOT), 0
    os.environ['PYTHONPATH'] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get('PYTHONPATH')]))
    for f in notebooks(a.paths):
        start, nb = time.time(), nbformat.read(f, as_version=4)
        old, failed = text(nb), ''
        try:
            if not a.stamp: execute(nb, f, a.timeout, set(cfg.tst_flags.split()) - set(a.flags.split()))
        except CellExecutionError as e: failed = str(e)
        tidy(nb, cfg)
        raw = nbformat.writes(nb, version=4, indent=1, ensure_ascii=False, sort_keys=True)+'\n'
        size = len(raw.encode())/1024
        diff = list(difflib.unified_diff(old, text(nb), 'stored', 'fresh', lineterm='', n=0))
        state = 'FAIL ' if failed else ('STALE' if a.check else 'new  ') if diff else 'ok   '
        print(f"{state} {time.time()-start:5.1f}s {size:6.1f} kB{' TOO BIG' if size > MAX_KB else ''} {os.path.relpath(f, ROOT)}", flush=True)
        if failed: print(failed)
        elif diff and a.check: print('\n'.join(diff[:20]))
        bad += bool(failed) or size > MAX_KB or (a.check and bool(diff))
        if not (a.check or failed): f.write_text(raw, encoding='utf-8')
    sys.exit(1 if bad else 0)

if __name__ == '__main__': main()
