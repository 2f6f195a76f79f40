"""Check that imports only point down the book: a chapter uses chapters of smaller numbers.

    python .github/tools/check_layers.py

A notebook `nbs/NN_name.ipynb` is module `visdec.name` with number NN. For visdec/*.py and for every code cell of a
numbered notebook, each import of a visdec module (also inside functions) must name a smaller number; a cell may
also import its own chapter.
`index`, `glossary` and `nbs/tutorials/` have no number and may import anything. Also refused: two notebooks with
one number or one module, a notebook whose name is not its module's, a module that no notebook exports.

Ends with 'N passed, N failed'; exits 1 when one failed."""
import ast, json, re, sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DEFAULT = re.compile(r'^#\|\s*default_exp\s+(\S+)', re.M)

def sources(path): return [''.join(c['source']) for c in json.loads(path.read_bytes())['cells'] if c['cell_type'] == 'code']

def chapters():
    "Module -> (number, notebook), and what is wrong with the numbering."
    found, wrong, numbers = {}, [], {}
    for f in sorted((ROOT/'nbs').rglob('*.ipynb')):
        if any(part[0] in '_.' for part in f.relative_to(ROOT/'nbs').parts): continue
        exp = next((m.group(1) for s in sources(f) if (m := DEFAULT.search(s))), None)
        name = re.fullmatch(r'(\d\d)_(\w+)', f.stem) if f.parent == ROOT/'nbs' else None
        if exp is None:
            if name: wrong.append(f'{f.name}: a numbered notebook without #| default_exp')
            continue
        if not name or name.group(2) != exp: wrong.append(f'{f.name}: exports {exp!r}, so it should be nbs/NN_{exp}.ipynb'); continue
        if exp in found: wrong.append(f'{f.name}: {found[exp][1].name} exports {exp!r} too')
        number = int(name.group(1))
        if number in numbers: wrong.append(f'{f.name}: {numbers[number]} has number {number:02} too')
        found[exp], numbers[number] = (number, f), f.name
    return found, wrong

def imported(code, modules):
    "The visdec modules that `code` imports, with their lines."
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            names = [a.name.split('.')[1] for a in node.names if a.name.startswith('visdec.')]
        elif isinstance(node, ast.ImportFrom):
            parts = (node.module or '').split('.')
            if node.level: parts = ['visdec', *[p for p in parts if p]]
            if parts[0] != 'visdec': continue
            names = parts[1:2] or [a.name for a in node.names if a.name in modules]
        else: continue
        yield from ((name, node.lineno) for name in names)

def plain(cell):
    "Python only: lines of magics and shell commands become blank."
    if re.match(r'\s*%%', '\n'.join(l for l in cell.splitlines() if not l.startswith('#|'))): return ''
    return '\n'.join('pass' if re.match(r'[%!]', l) else l for l in cell.splitlines())

def faults(code, where, number, modules, own=None):
    "`own`: the module of the cell's own chapter, which another process or a reader of folders must import."
    for name, line in imported(code, modules):
        if name not in modules: yield f'{where}:{line}: visdec.{name} is the module of no notebook'
        elif modules[name][0] >= number and name != own: yield f'{where}:{line}: {number:02} imports visdec.{name}, which is {modules[name][0]:02}'

def main():
    modules, wrong = chapters()
    bad, checked = list(wrong), 0
    for name, (number, f) in sorted(modules.items(), key=lambda kv: kv[1][0]):
        py, here = ROOT/'visdec'/f'{name}.py', []
        if py.exists(): here += faults(py.read_text(encoding='utf-8'), f'visdec/{name}.py', number, modules)
        else: here.append(f'{f.name}: visdec/{name}.py is missing, run nbdev_export')
        for i, cell in enumerate(sources(f)):
            try: here += faults(plain(cell), f'{f.name} code cell {i+1}', number, modules, name)
            except SyntaxError as e: here.append(f'{f.name} code cell {i+1}: {e}')
        bad += here; checked += not here
    for py in sorted((ROOT/'visdec').rglob('*.py')):
        if py.stem not in modules and py.name not in ('__init__.py', '_modidx.py'):
            bad.append(f'visdec/{py.name}: no notebook exports it, delete it')
    for b in bad: print('FAIL', b)
    print(f'{checked} passed, {len(bad)} failed')
    sys.exit(1 if bad or not checked else 0)

if __name__ == '__main__': main()
