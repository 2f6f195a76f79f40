"""Check what the committed notebooks carry, without running them (under 2 s).

    python .github/tools/check_outputs.py                          all notebooks below nbs/
    python .github/tools/check_outputs.py nbs/20_patches.ipynb     some of them
    python .github/tools/check_outputs.py --hash nbs/x.ipynb       print the stored and the current hash

For every notebook:
- `metadata.visdec.code` equals the hash of its code cells, so outputs belong to the code beside them
  (`run_nbs.py` stores the hash when it has run the notebook);
- a notebook with code shows at least one output, and none of the outputs is an error;
- a cell with `#| fig-cap` shows an image (or a widget), and a cell that shows an image has `#| fig-cap` and `#| fig-alt`;
- no output shows a place of the machine that made it, such as a folder of tempfile;
- at most 500 kB and 3000 words of prose (the glossary, which is looked up and not read, 4000); every cell has a speaking id.

Ends with 'N passed, N failed'; exits 1 when one failed."""
import argparse, hashlib, json, re, sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MAX_KB, MAX_WORDS = 500, 3000
EXPORT = re.compile(r'^\s*(import nbdev[;\s]+)?nbdev\.nbdev_export\(\)\s*$', re.M)

def source(cell): return ''.join(cell['source'])

def code_cells(nb): return [c for c in nb['cells'] if c['cell_type'] == 'code' and source(c).strip()]

def code_hash(nb):
    "A hash of all code cells in their order; prose, outputs, ids and the exporting cell do not count."
    text = '\x1e'.join(source(c).strip() for c in code_cells(nb) if not EXPORT.search(source(c)))
    return hashlib.sha256(text.encode()).hexdigest()[:16]

def stored_hash(nb): return nb['metadata'].get('visdec', {}).get('code')

def notebooks(paths=()):
    "The notebooks named, or all below nbs/, as nbdev finds them: no name that starts with _ or a dot."
    if paths: return sorted({f.resolve() for p in map(Path, paths) for f in (p.rglob('*.ipynb') if p.is_dir() else [p])})
    return sorted(f for f in (ROOT/'nbs').rglob('*.ipynb')
                  if not any(part[0] in '_.' for part in f.relative_to(ROOT/'nbs').parts))

PLACE = re.compile(r'/tmp/tmp\w{8}|/(?:root|home|Users|work)/[\w.]+|/tmp/s\d+/')

def shown_text(cell):
    "All text that a cell shows."
    return '\n'.join(''.join(o.get('text') or o.get('data', {}).get('text/plain', '')) for o in cell.get('outputs', []))

def shows_image(cell): return any(k.startswith('image/') for o in cell.get('outputs', []) for k in o.get('data', {}))

WIDGET = re.compile(r'(interactive|[VHG]\w*Box|Box|\w*Slider|Output|Tab|Accordion|AppLayout)\(')

def shows_widget(cell):
    "A widget leaves only its text in a stored notebook; the static figure beside it carries the picture."
    return any(WIDGET.match(''.join(o.get('data', {}).get('text/plain', ''))) for o in cell.get('outputs', []))

def problems(path):
    "Everything that is wrong with one notebook, one line each."
    raw = path.read_bytes()
    nb = json.loads(raw)
    cells = code_cells(nb)
    work = [c for c in cells if not EXPORT.search(source(c))]
    if work and stored_hash(nb) is None: yield 'never run: run_nbs.py has stored no hash'
    elif work and stored_hash(nb) != code_hash(nb): yield 'stale: code changed since the outputs were made, run run_nbs.py'
    if work and not any(c['outputs'] for c in cells): yield 'no output: nothing is shown'
    for c in cells:
        caption, alt = (re.search(rf'^#\|\s*{k}:\s*\S', source(c), re.M) for k in ('fig-cap', 'fig-alt'))
        if any(o['output_type'] == 'error' for o in c['outputs']): yield f"cell {c.get('id')!r} shows an error"
        if caption and not (shows_image(c) or shows_widget(c)): yield f"cell {c.get('id')!r} has a caption but no image"
        if m := PLACE.search(shown_text(c)): yield f"cell {c.get('id')!r} shows a place of a machine: {m[0]}"
        if shows_image(c) and not (caption and alt): yield f"cell {c.get('id')!r} shows an image without #| fig-cap and #| fig-alt"
    for c in nb['cells']:
        if re.fullmatch('[0-9a-f]{8}|', c.get('id', '')): yield f"cell id {c.get('id')!r} says nothing: {source(c)[:40]!r}"
    if 'widgets' in nb['metadata']: yield 'carries widget state'
    words = sum(len(source(c).split()) for c in nb['cells'] if c['cell_type'] == 'markdown')
    most = 4000 if path.stem == 'glossary' else MAX_WORDS
    if words > most: yield f'{words} words, at most {most}'
    if len(raw) > MAX_KB*1024: yield f'{len(raw)/1024:.0f} kB, at most {MAX_KB}'

def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('paths', nargs='*')
    ap.add_argument('--hash', action='store_true', help='print hashes and check nothing')
    a = ap.parse_args()
    files = notebooks(a.paths)
    if a.hash:
        for f in files:
            nb = json.loads(f.read_bytes())
            print(f'{stored_hash(nb) or "-":16} {code_hash(nb)} {f.name}')
        return
    bad = 0
    for f in files:
        found = list(problems(f))
        bad += bool(found)
        for p in found: print(f'FAIL {f.relative_to(ROOT) if f.is_relative_to(ROOT) else f}: {p}')
    print(f'{len(files)-bad} passed, {bad} failed')
    sys.exit(1 if bad or not files else 0)

if __name__ == '__main__': main()
