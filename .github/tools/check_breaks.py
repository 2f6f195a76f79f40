"""Check the list of breaks, `.github/tools/mutants.json`: can each still be applied, and has every chapter enough?

    python .github/tools/check_breaks.py

A break is {"id", "notebook", "old", "new", "what"}. `old` must stand exactly once in exactly one exported cell of its
chapter, or `mutate.py` has nothing to break; a change of that cell leaves it behind. An id stands once, begins with the
chapter's number and changes something. A chapter that exports code has at least five.

Ends with 'N passed, N failed'; exits 1 when one failed."""
import json, re, sys
from collections import Counter
from pathlib import Path

ROOT, LEAST = Path(__file__).resolve().parents[2], 5

def exported(path):
    "Sources of the exported cells of a notebook."
    code = (''.join(c['source']) for c in json.loads(path.read_bytes())['cells'] if c['cell_type'] == 'code')
    return [s for s in code if re.match(r'\s*#\|\s*exports?\b', s)]

def main():
    breaks = json.loads((ROOT/'.github/tools/mutants.json').read_text())
    cells = {f.stem: found for f in sorted((ROOT/'nbs').glob('[0-9]*.ipynb')) if (found := exported(f))}
    wrong = [f'{i}: stands {n} times' for i, n in Counter(m['id'] for m in breaks).items() if n > 1]
    for m in breaks:
        hits = sum(s.count(m['old']) for s in cells.get(m['notebook'], []))
        if hits != 1: wrong.append(f"{m['id']}: `old` stands {hits} times in the exported cells of {m['notebook']}")
        if m['old'] == m['new']: wrong.append(f"{m['id']}: changes nothing")
        if not m['id'].startswith(m['notebook'][:2] + '-'): wrong.append(f"{m['id']}: is of chapter {m['notebook']}")
    many = Counter(m['notebook'] for m in breaks)
    wrong += [f'{name}: {many[name]} breaks, at least {LEAST} are asked for' for name in cells if many[name] < LEAST]
    for w in wrong: print('FAIL', w)
    print(f'{len(breaks) + len(cells) - len(wrong)} passed, {len(wrong)} failed')
    sys.exit(bool(wrong))

if __name__ == '__main__': main()
