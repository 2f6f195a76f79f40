"""Join lists of breaks, one file a chapter, into `.github/tools/mutants.json`, sorted and checked.

    python .github/tools/join_mutants.py FOLDER

Each file is a list of {"id", "notebook", "old", "new", "what"}. A break whose `old` does not stand exactly once in exactly
one exported cell is refused, as is an id that stands twice. Prints how many breaks each chapter has."""
import json, sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

def hits(m):
    nb = json.loads((ROOT/'nbs'/f"{m['notebook']}.ipynb").read_bytes())
    code = [''.join(c['source']) for c in nb['cells'] if c['cell_type'] == 'code']
    return sum(s.count(m['old']) == 1 for s in code if s.lstrip().startswith('#| export'))

def main(folder):
    found = [m for f in sorted(Path(folder).glob('*.json')) for m in json.loads(f.read_text())]
    found.sort(key=lambda m: (m['notebook'], [int(w) if w.isdigit() else 0 for w in m['id'].split('-')]))
    bad = [f"{m['id']}: `old` stands in {hits(m)} exported cells" for m in found if hits(m) != 1]
    bad += [f'{i}: stands {n} times' for i, n in Counter(m['id'] for m in found).items() if n > 1]
    for b in bad: print('FAIL', b)
    if not bad: (ROOT/'.github/tools/mutants.json').write_text(json.dumps(found, indent=1, ensure_ascii=False) + '\n')
    for name, n in Counter(m['notebook'] for m in found).items(): print(f'{n:3} {name}')
    print(f'{len(found)} breaks')
    sys.exit(bool(bad))

if __name__ == '__main__': main(*sys.argv[1:] or ['.'])
