"""Can the advice of every error be typed? Options that a message names must be options of the command that shows it.

    python .github/tools/check_advice.py            all verbs
    python .github/tools/check_advice.py --said     and print each message that was looked at

From the function of each verb, calls are followed through visdec/*.py (names, imports inside functions, classes with
their methods, tables such as `LOADERS`). Each DataError and warning on the way is read: an option `--name` in it must be
one of that verb, or of the verb that stands before it, as in `visdec prepare god OUT --names FILE`. The way is followed
by names alone, so a verb may seem to reach what it never does: such pairs stand in FREE, each with its reason.

Ends with 'N options named, N that cannot be typed'; exits 1 when there is one, or when a line of FREE is of no use."""
import ast, re, sys
from functools import lru_cache
from pathlib import Path

import visdec
from visdec.cli import VERBS, make_parser

FREE = {                                      # module, option, verb(s) that only seem to reach it: why
    ('attend', '--set', 'report'): 'it judges no pairs',
    ('cli', '--x', 'evaluate'): 'only `decode` has --x, and hands it on to this check',
    ('core', '--device', 'config report'): 'they compute nothing',
    ('data_verbs', '--dry-run', 'inspect'): 'said of `prepare`; inspect looks at BIDS studies alone',
    ('parts', '--from-scratch', 'ladder reproduce'): 'neither asks for the parts that come with visdec',
    ('parts', '--encoder', 'ladder'): 'no encoder is handed in',
    ('parts', '--ldm', 'ladder'): 'no model is handed in',
    ('parts', '--ldm-config', 'ladder'): 'no model is handed in',
    ('ldm', '--ldm-config', 'ladder'): 'no model is handed in',
    ('study', '--encoder', 'config ladder report'): 'they train no phase 1 on several sources',
    ('study', '--path', 'reproduce'): 'its study is the recording of --task',
    ('miyawaki', '--path', 'reproduce'): 'its study is the recording of --task',
}
RUN = 'audit', 'decode'                       # they take all choices from a finished run: `demo --out RUN` is advised
TREES = {p.stem: ast.parse(p.read_text(encoding='utf-8')) for p in Path(visdec.__file__).parent.glob('*.py')}

def patched(s): return isinstance(s, ast.FunctionDef) and any(getattr(d, 'id', '') == 'patch' for d in s.decorator_list)

def imported(node):
    "Name -> (module, name there), or (module, None) for a module as a whole."
    found = {}
    for n in ast.walk(node):
        if isinstance(n, ast.ImportFrom) and (n.level or (n.module or '').split('.')[0] == 'visdec'):
            module = (n.module or '').removeprefix('visdec').lstrip('.')
            found |= {a.asname or a.name: (module, a.name) if module else (a.name, None) for a in n.names}
        if isinstance(n, ast.Import):
            found |= {a.asname: (a.name.removeprefix('visdec.'), None) for a in n.names if a.name.startswith('visdec.') and a.asname}
    return found

HEADS = {m: imported(ast.Module([s for s in t.body if isinstance(s, (ast.Import, ast.ImportFrom))], [])) for m, t in TREES.items()}
NODES = {}                                    # (module, name) -> statements that define it
for m, t in TREES.items():
    for s in t.body:
        names = [s.name] if isinstance(s, (ast.FunctionDef, ast.ClassDef)) else \
            [n.id for g in s.targets if not isinstance(g, ast.Subscript) for n in ast.walk(g) if isinstance(n, ast.Name)] \
            if isinstance(s, ast.Assign) else []
        for name in names: NODES.setdefault((m, name), []).append(s)

def home(m, name, local=()):
    "Where a name that stands in module `m` is defined; None where that is not in visdec."
    k = dict(local).get(name) or ((m, name) if (m, name) in NODES else HEADS[m].get(name))
    for _ in range(9):
        if not k or k in NODES or k[1] is None: return k
        k = HEADS.get(k[0], {}).get(k[1])

def uses(m, s):
    "What a statement of module `m` names: (module, name) each."
    local, found = imported(s), set()
    for n in ast.walk(s):
        if isinstance(n, ast.Name): found.add(home(m, n.id, local))
        if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name):
            k = home(m, n.value.id, local)
            if k and k[1] is None: found.add(home(k[0], n.attr) if k[0] in TREES else None)
    return {k for k in found if k and k[1]}

EDGES = {k: set().union(*(uses(k[0], s) for s in ss)) for k, ss in NODES.items()}
for m, t in TREES.items():
    for s in t.body:
        if patched(s) and (k := home(m, getattr(s.args.args[0].annotation, 'id', ''))) in EDGES: EDGES[k].add((m, s.name))
        if isinstance(s, ast.Assign) and isinstance(s.targets[0], ast.Subscript) and isinstance(s.targets[0].value, ast.Name):
            if (k := home(m, s.targets[0].value.id)) in EDGES: EDGES[k] |= uses(m, s)

def reached(k):
    seen, todo = set(), [k]
    while todo:
        if (k := todo.pop()) in EDGES and k not in seen: seen.add(k); todo += EDGES[k]
    return seen

@lru_cache(None)
def messages(s):
    "Line and texts of each error and warning in a statement."
    return list(_messages(s))

def _messages(s):
    for n in ast.walk(s):
        if isinstance(n, ast.Call) and ast.unparse(n.func) in ('DataError', 'need', 'warnings.warn'):
            given = [*n.args, *(k.value for k in n.keywords)]
            yield n.lineno, [' '.join(c.value for c in ast.walk(g) if isinstance(c, ast.Constant) and isinstance(c.value, str)) for g in given]

def main():
    choices = make_parser()._subparsers._group_actions[0].choices
    options = {v: {s for a in p._actions for s in a.option_strings} for v, p in choices.items()}
    for verb in RUN: options[verb] |= options['demo']
    free = {(m, option, verb): key for key in FREE for m, option, verbs in [key] for verb in verbs.split()}
    named, stray, used = set(), set(), set()
    for verb, v in VERBS.items():
        start = v.do.__module__.removeprefix('visdec.'), v.do.__name__
        for m, name in reached(start):
            for line, texts in (e for s in NODES[m, name] for e in messages(s)):
                for text in texts:
                    spoken = verb
                    for hit in re.finditer(r'visdec ([a-z]+)(?=[ `])|(?<![\w-])(--[a-z][a-z-]*)', text):
                        if hit[1]: spoken = hit[1] if hit[1] in options else spoken
                        else:
                            named.add((m, line, hit[2], spoken))
                            if hit[2] in options[spoken]: continue
                            if (k := (m, hit[2], spoken)) in free: used.add(k)
                            else: stray.add((m, line, hit[2], spoken, text))
    if '--said' in sys.argv: print(*sorted(named), sep='\n')
    for m, line, option, verb, text in sorted(stray): print(f'visdec/{m}.py:{line}: {verb} has no {option}: {text[:90]}')
    for k in sorted(set(free) - used): print(f'FREE: {k} is of no use')
    print(f'{len(named)} options named, {len(stray)} that cannot be typed')
    return bool(stray or set(free) - used or not named)

if __name__ == '__main__': sys.exit(main())
