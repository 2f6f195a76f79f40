"""Edit notebooks as plain text.

    python .github/tools/nbtxt.py to nbs/20_patches.ipynb /tmp/20_patches.txt      notebook -> text
    python .github/tools/nbtxt.py from /tmp/20_patches.txt nbs/20_patches.ipynb    text -> notebook

A cell starts with a line `%% md ID` or `%% code ID [solution]`; its source follows. Outputs of code cells whose
id and source did not change are kept, as is the notebook's metadata. Without the second path the file is written
beside the first one, with the other suffix."""
import re, sys
from pathlib import Path
import nbformat

HEAD = re.compile(r'^%% (md|code) (\S+)( solution)?\s*$')

def to_text(nb):
    parts = []
    for c in nb.cells:
        kind = 'md' if c.cell_type == 'markdown' else 'code'
        fold = ' solution' if c.metadata.get('jupyter', {}).get('source_hidden') else ''
        parts.append(f'%% {kind} {c.id}{fold}\n{c.source.strip()}\n')
    return '\n'.join(parts)

def from_text(text, old=None):
    kept = {c.id: c for c in (old.cells if old else [])}
    cells, ids = [], set()
    for line in text.splitlines():
        if m := HEAD.match(line):
            kind, id_, fold = m.groups()
            if id_ in ids: sys.exit(f'two cells are called {id_!r}: every cell needs its own id')
            if not re.fullmatch(r'[A-Za-z0-9_-]{1,64}', id_): sys.exit(f'cell id {id_!r}: letters, digits, - and _ only, at most 64')
            ids.add(id_); cells.append((kind, id_, fold, []))
        elif cells: cells[-1][3].append(line)
        elif line.strip(): sys.exit(f'text before the first %% line: {line!r}')
    nb = nbformat.v4.new_notebook(metadata={'kernelspec': {'display_name': 'python3', 'language': 'python', 'name': 'python3'}})
    if old: nb.metadata = old.metadata
    for kind, id_, fold, lines in cells:
        src = '\n'.join(lines).strip()
        if kind == 'md': cell = nbformat.v4.new_markdown_cell(src)
        else:
            cell = nbformat.v4.new_code_cell(src)
            was = kept.get(id_)
            if was is not None and was.cell_type == 'code' and was.source == src: cell.outputs = was.outputs
            if fold: cell.metadata['jupyter'] = {'source_hidden': True}
        cell['id'] = id_
        nb.cells.append(cell)
    return nb

def main():
    if len(sys.argv) < 3 or sys.argv[1] not in ('to', 'from'): sys.exit(__doc__)
    src = Path(sys.argv[2])
    if sys.argv[1] == 'to':
        dst = Path(sys.argv[3]) if len(sys.argv) > 3 else src.with_suffix('.txt')
        dst.write_text(to_text(nbformat.read(src, as_version=4)), encoding='utf-8')
    else:
        dst = Path(sys.argv[3]) if len(sys.argv) > 3 else src.with_suffix('.ipynb')
        old = nbformat.read(dst, as_version=4) if dst.exists() else None
        nb = from_text(src.read_text(encoding='utf-8'), old)
        dst.write_text(nbformat.writes(nb, version=4, indent=1, ensure_ascii=False, sort_keys=True)+'\n', encoding='utf-8')

if __name__ == '__main__': main()
