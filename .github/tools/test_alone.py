"""Test, in a minute, that a clone without `shared/` passes: run only the cells that ask for shared files, and what they touch.

    python .github/tools/test_alone.py                          every notebook that calls shared_path
    python .github/tools/test_alone.py nbs/24_contrast.ipynb    some of them

`test_nbs.py` runs all cells with the shared files where they are; the others cannot differ without them. Here each
notebook is one process in which `shared_path` finds nothing. Its exported cells run, the cells that call `shared_path`,
and those that read a name which such a cell gives only behind a condition. Where one misses a name, the cell that gives
it runs first. So nothing can pass by being left out: what is missing and asked for is made, or the cell fails; then
(a file of another cell was needed, say) the whole notebook runs, and its word counts. Ends with 'N passed, N failed in
S s'; exits 1 when one failed."""
import ast, json, os, re, symtable, sys, time
from concurrent.futures import ThreadPoolExecutor

from check_outputs import ROOT, notebooks
from nbdev.config import get_config
from test_nbs import prepare, run, whole

ASKS = 'shared_path('

def given(source):
    "Names that a cell gives for certain, and those that it may give."
    may = {s.get_name() for s in symtable.symtable(source, 'cell', 'exec').get_symbols()
           if s.is_assigned() or s.is_imported() or s.is_namespace()}
    sure = set()
    def visit(node):
        if isinstance(node, ast.If | ast.Try | ast.FunctionDef | ast.ClassDef | ast.Lambda):
            sure.update([node.name] if hasattr(node, 'name') else [])
            return
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store): sure.add(node.id)
        if isinstance(node, ast.alias): sure.add((node.asname or node.name).split('.')[0])
        for child in ast.iter_child_nodes(node): visit(child)
    for node in ast.parse(source).body: visit(node)
    return sure & may, may

def read(source):
    "Names that a cell takes from others, inside its functions too: those it reads before it gives them for certain."
    scopes = ast.FunctionDef | ast.Lambda | ast.ClassDef | ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
    branches, wanted = ast.If | ast.Try | ast.While, set()
    def visit(node, have):
        if isinstance(node, ast.Name):
            if isinstance(node.ctx, ast.Store): have.add(node.id)
            elif node.id not in have: wanted.add(node.id)
            return
        if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name) and node.target.id not in have:
            wanted.add(node.target.id)
        parts = list(ast.iter_child_nodes(node))
        inner = have
        if isinstance(node, scopes):                 # names of its own, wherever they stand in it
            own = {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
            inner = have | own | {n.arg for n in ast.walk(node) if isinstance(n, ast.arg)}
        elif isinstance(node, branches): inner = set(have)
        elif isinstance(node, ast.Assign | ast.AnnAssign | ast.For): parts.sort(key=lambda p: p not in (
            getattr(node, 'value', None), getattr(node, 'iter', None)))      # what is asked before what is given
        for p in parts: visit(p, inner)
        if isinstance(node, ast.FunctionDef | ast.ClassDef): have.add(node.name)
        if isinstance(node, ast.alias): have.add((node.asname or node.name).split('.')[0])
    visit(ast.parse(source), set())
    return wanted

def concerned(sources):
    "Places of the cells that ask, and of those that read what was given behind a condition (or the path itself)."
    open_names, found = set(), []
    for i, s in enumerate(sources):
        sure, may = given(s)
        asks = ASKS in s
        if asks or read(s) & open_names:
            found.append(i)
            open_names |= may - sure
        open_names -= sure
        if asks: open_names |= set(re.findall(r'(\w+)\s*:?=\s*\(?shared_path\(', s))
    return found

def lazily(path):
    "Run the cells of one notebook that are concerned, and those that give the names they miss."
    from execnb.shell import CaptureShell
    cells = [c for c in json.loads(path.read_text())['cells'] if c['cell_type'] == 'code']
    cells = [(c['id'], ''.join(c['source'])) for c in cells]
    cells = [(k, s) for k, s in cells if 'nbdev_export' + '(' not in s and not re.search(r'^#\|\s*(eval:\s*false|notest|slow|gpu)', s, re.M)]
    names, sources = zip(*cells)
    shell, done = CaptureShell(path), set()
    def good(i):
        while True:
            done.add(i)
            error = shell.run_cell(sources[i]).exception
            if error is None: return True
            lost = next((m[1] for e in (error, error.__context__) for m in re.finditer(      # its own, one that
                r"NameError: name '(\w+)' is not defined", f'{type(e).__name__}: {e}')), None)   # a child or `test_fail` met
            makers = [j for j in range(i) if j not in done and lost in given(sources[j])[1]]
            if not lost or not makers: return print(f'cell {names[i]!r}: {type(error).__name__}: {error}')
            if not good(makers[-1]): return False
    ask = concerned(sources)
    for i, s in enumerate(sources):
        if i not in done and (i in ask or re.match(r'#\|\s*export', s)) and not good(i): return False
    print(f'{len(ask)} cells asked, {len(done)} of {len(cells)} ran')
    return bool(ask)

def main():
    files = [f for f in notebooks(sys.argv[1:]) if ASKS in f.read_text(encoding='utf-8')]
    flags, start, passed = get_config(path=ROOT).tst_flags, time.time(), 0
    prepare(2, VISDEC_SHARED='/nonexistent')
    def one(f):
        good, seconds, why, out = run(lazily, f, (f,), 300)
        if good: return good, seconds, out.strip().splitlines()[-1], out
        good, more, why, out = run(whole, f, (f, flags, ''), 600)
        return good, seconds + more, why or 'ran whole', out
    with ThreadPoolExecutor(2) as pool:
        for f, (good, seconds, told, out) in zip(files, pool.map(one, files)):
            passed += good
            print(f"{'ok  ' if good else 'FAIL'} {seconds:6.1f}s {os.path.relpath(f, ROOT)}: {told}", flush=True)
            if not good: print(out[-6000:], flush=True)
    print(f'{passed} passed, {len(files) - passed} failed in {time.time() - start:.1f}s')
    sys.exit(0 if files and passed == len(files) else 1)

if __name__ == '__main__': main()
