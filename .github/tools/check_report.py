"""Open a report in headless Chromium and look at its layout: is a picture squeezed, does anything overflow?

    python .github/tools/check_report.py visdec-demo/report.html --shots shots

Needs playwright (`pip install playwright`) and a Chromium (`apt-get install chromium`); no network. At each width, light and
dark: every picture keeps its aspect within 2 %, pictures of the table of pictures are at least 96 px wide, and nothing but
what scrolls by itself is wider than the page. Exits 1 and names what fails."""
import argparse, shutil, sys
from pathlib import Path

LOOK = """() => {
  const wide = document.documentElement.clientWidth;
  const scrolls = e => { for (; e; e = e.parentElement) if (['auto', 'scroll'].includes(getComputedStyle(e).overflowX)) return true; };
  const images = [...document.querySelectorAll('img')].map(i => [i.alt, i.naturalWidth, i.naturalHeight, i.clientWidth, i.clientHeight]);
  const over = [...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > wide + 1 && !scrolls(e));
  const small = [...document.querySelectorAll('body *')].filter(e => e.childNodes.length && [...e.childNodes].some(n => n.nodeType == 3
    && n.textContent.trim()) && parseFloat(getComputedStyle(e).fontSize) < 11);
  return {images, over: over.slice(0, 5).map(e => e.tagName + ' ' + e.className), page: document.documentElement.scrollWidth, wide,
          small: small.slice(0, 5).map(e => e.tagName + ' ' + e.textContent.slice(0, 30))};
}"""

def faults(found, least):
    "What is wrong with a page, in words."
    said = []
    for name, w, h, cw, ch in found['images']:
        if not w:
            said.append(f'{name}: cannot be shown')
        elif cw and ch and abs(cw*h/(ch*w) - 1) > .02:
            said.append(f'{name}: {w} x {h} is shown as {cw} x {ch}')
        elif w == h and cw < least:
            said.append(f'{name}: {cw} px wide')
    if found['page'] > found['wide'] + 1:
        said.append(f"the page is {found['page']} px wide, the screen {found['wide']}: {found['over']}")
    return said + [f'small text: {t}' for t in found['small']]

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('report', type=Path)
    p.add_argument('--widths', type=int, nargs='+', default=[400, 1200])
    p.add_argument('--least', type=int, default=96, help='pixels of the narrowest square picture')
    p.add_argument('--shots', type=Path, help='folder for screenshots')
    a = p.parse_args()
    from playwright.sync_api import sync_playwright
    bad = 0
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=shutil.which('chromium'), args=['--no-sandbox'])
        for width in a.widths:
            for scheme in ('light', 'dark'):
                page = browser.new_page(viewport=dict(width=width, height=900), color_scheme=scheme)
                page.goto(a.report.resolve().as_uri())
                found = page.evaluate(LOOK)
                said = faults(found, a.least)
                bad += len(said)
                print(f"{width} px, {scheme}: {len(found['images'])} pictures, {'; '.join(said[:6]) or 'nothing wrong'}")
                if a.shots:
                    a.shots.mkdir(parents=True, exist_ok=True)
                    page.screenshot(path=a.shots/f'{width}-{scheme}.png', full_page=width > 600)
        browser.close()
    sys.exit(bool(bad))

if __name__ == '__main__':
    main()
