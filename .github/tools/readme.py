"""Write README.md from nbs/index.ipynb without quarto.

    python .github/tools/readme.py

Cells with `#| hide`, `#| export` or `#| include: false` are dropped; of a cell with `#| echo: false` only the output
is shown. Other directives are stripped. Images go to README_files/ and take their alternative text from
`#| fig-alt`. Links to notebooks are written relative to the repository's root."""
import re, shutil

import nbformat
from check_outputs import ROOT
from nbconvert import MarkdownExporter
from nbdev.config import get_config

HIDE = re.compile(r'^#\|\s*(hide\b|export|default_exp|include:\s*false)', re.M)
ECHO = re.compile(r'^#\|\s*echo:\s*false', re.M)
ALT = re.compile(r'^#\|\s*fig-alt:\s*"?(.*?)"?\s*$', re.M)
DIREC = re.compile(r'^#\|.*\n?|^%(matplotlib|load_ext|autoreload).*\n?', re.M)
LINK = re.compile(r'\]\((?!https?:|#|/|\.\./)([\w./-]+\.ipynb)')
MADE = '<!-- made from nbs/index.ipynb by .github/tools/readme.py; do not edit -->\n\n'

def prepare(nb):
    "Keep what a reader of README.md sees; return the alternative texts of the images, in their order."
    nb.cells = [c for c in nb.cells if c.source.strip() and not (c.cell_type == 'code' and HIDE.search(c.source))]
    alts = []
    for c in nb.cells:
        if c.cell_type != 'code': continue
        alt = ALT.search(c.source)
        alts += [alt.group(1) if alt else 'figure' for o in c.outputs if any(k.startswith('image/') for k in o.get('data', {}))]
        c.source = '' if ECHO.search(c.source) else DIREC.sub('', c.source).strip()
    nb.metadata.setdefault('language_info', {'name': 'python'})      # so that fences read ```python
    return alts

def main():
    cfg = get_config(path=ROOT)
    nb = nbformat.read(cfg.nbs_path/cfg.readme_nb, as_version=4)
    alts = iter(prepare(nb))
    body, res = MarkdownExporter().from_notebook_node(nb, {'unique_key': 'README', 'output_files_dir': 'README_files'})
    shutil.rmtree(ROOT/'README_files', ignore_errors=True)
    for name, data in res['outputs'].items():
        (ROOT/name).parent.mkdir(exist_ok=True)
        (ROOT/name).write_bytes(data)
    body = re.sub(r'!\[\w+\]\((README_files/[^)]+)\)', lambda m: f'![{next(alts)}]({m.group(1)})', body)
    body = re.sub(r'^[ \t]+$', '', re.sub(r'```python\s*```\n', '', body), flags=re.M)
    (ROOT/'README.md').write_text(MADE + re.sub(r'\n{3,}', '\n\n', LINK.sub(r'](nbs/\1', body).strip()) + '\n', encoding='utf-8')

if __name__ == '__main__': main()
