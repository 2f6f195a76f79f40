"""Open a report in headless Chromium and look at its layout: is a picture squeezed, does anything overflow?

    python .github/tools/check_report.py visdec-demo/report.html
    python .github/tools/check_report.py visdec-demo/report.html --shots FOLDER        a picture of each view
    python .github/tools/check_report.py visdec-demo/report.html --shot nbs/report.jpg  the top of the page, at most 150 kB

Needs playwright (`pip install playwright`) and a Chromium (`apt-get install chromium`); no network. Looks at a telephone
(400 px) and a desk (1200 px), light and dark, and at A4 paper. In every view:
- each picture can be shown, keeps its aspect within 2 %, and its shorter side is at least 96 px;
- nothing but what scrolls by itself is wider than the page, and no word is cut off;
- text is at least 11 px (text of drawings as it is drawn), has a contrast of 4.5 or more, and labels of a drawing do not overlap;
- pictures are grouped: on a telephone and on paper a card for each picture, with the names below; on a desk a column for each, and each
  row's name level with its pictures; the first column of a table stays in sight when it scrolls.
Nothing is asked for over a network. Exits 1 and names what fails."""
import argparse, io, shutil, sys
from pathlib import Path

VIEWS = [(w, scheme, 'screen') for w in (400, 1200) for scheme in ('light', 'dark')] + [(718, 'light', 'print')]

LOOK = """() => {
  const wide = document.documentElement.clientWidth, all = [...document.querySelectorAll('body *')];
  const style = e => getComputedStyle(e), box = e => e.getBoundingClientRect();
  const scrolls = e => { for (; e; e = e.parentElement) if (['auto', 'scroll'].includes(style(e).overflowX)) return true; return false; };
  const there = e => box(e).width > 0 && style(e).visibility != 'hidden' && e.checkVisibility();
  const word = e => (e.textContent || e.tagName).trim().slice(0, 30);
  const own = e => [...e.childNodes].some(n => n.nodeType == 3 && n.textContent.trim());
  const images = [...document.querySelectorAll('img')].filter(there).map(i => [i.alt, i.naturalWidth, i.naturalHeight, box(i).width, box(i).height]);
  const over = all.filter(e => there(e) && box(e).right > wide + 1 && !scrolls(e)).map(e => e.tagName + ' ' + (e.getAttribute('class') || word(e)));
  const texts = all.filter(e => there(e) && own(e) && !['STYLE', 'SCRIPT', 'title', 'TITLE'].includes(e.tagName));
  const scale = e => e.ownerSVGElement ? e.getScreenCTM().a : 1;
  const small = texts.filter(e => parseFloat(style(e).fontSize)*scale(e) < 11).map(e => word(e) + ' ' + style(e).fontSize + ' x ' + scale(e));
  const cut = all.filter(e => there(e) && own(e) && !e.ownerSVGElement && style(e).display != 'inline' && !scrolls(e)
    && (e.scrollWidth > e.clientWidth + 1 && e.clientWidth || e.scrollHeight > e.clientHeight + 2 && e.clientHeight)).map(word);
  const rgb = c => (c.match(/[\\d.]+/g) || []).map(Number);
  const light = c => { const [r, g, b] = rgb(c).map(v => { v /= 255; return v <= .03928 ? v/12.92 : ((v + .055)/1.055)**2.4; }); return .2126*r + .7152*g + .0722*b; };
  const ground = e => { for (; e; e = e.parentElement) { const c = rgb(style(e).backgroundColor); if (c.length == 3 || c[3] == 1) return style(e).backgroundColor; } return 'rgb(255, 255, 255)'; };
  const contrast = e => { const a = light(e.ownerSVGElement ? style(e).fill : style(e).color), b = light(ground(e)); return (Math.max(a, b) + .05)/(Math.min(a, b) + .05); };
  const faint = texts.filter(e => contrast(e) < 4.5).map(e => word(e) + ' ' + contrast(e).toFixed(1));
  const meet = (a, b) => a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 2 && b.top < a.bottom - 2;
  const clash = [...document.querySelectorAll('svg')].filter(there).flatMap(s => { const t = [...s.querySelectorAll('text')];
    return t.flatMap((a, i) => t.slice(i + 1).filter(b => meet(box(a), box(b))).map(b => word(a) + ' / ' + word(b))); });
  const out = [...document.querySelectorAll('svg')].filter(there).flatMap(s => [...s.querySelectorAll('text')]
    .filter(t => box(t).left < box(s).left - 1 || box(t).right > box(s).right + 1 || box(t).bottom > box(s).bottom + 1).map(word));
  const bands = [...document.querySelectorAll('.band')].filter(there).map(b => ({
    names: [...b.querySelectorAll('.names span')].filter(there).map(s => [s.textContent, box(s).top, box(s).height]),
    pictures: [...b.querySelectorAll('.picture')].map(p => ({number: p.querySelector('h3').textContent.trim(), left: box(p).left, top: box(p).top,
      right: box(p).right, bottom: box(p).bottom, figures: [...p.querySelectorAll('figure')].map(f => ({name: f.textContent.trim(), said: there(f.querySelector('figcaption')),
        left: box(f).left, right: box(f).right, top: box(f).top, bottom: box(f).bottom}))}))}));
  const stays = [...document.querySelectorAll('.scroll')].filter(s => s.querySelector('thead') && s.scrollWidth > s.clientWidth + 1).map(s => {
    const c = s.querySelector('tbody th'), before = box(c).left; s.scrollLeft = 200; const after = box(c).left; s.scrollLeft = 0; return Math.abs(before - after); });
  return {images, over, page: document.documentElement.scrollWidth, wide, small, cut, faint, clash, out, bands, stays, numbers: images.length};
}"""

def grouped(bands, cards):
    "What is wrong with how pictures of one number stand together."
    for band in bands:
        for p in band['pictures']:
            inside = all(p['left'] - 1 <= f['left'] and f['right'] <= p['right'] + 1 and p['top'] - 1 <= f['top'] and f['bottom'] <= p['bottom'] + 1
                         for f in p['figures'])
            if not p['number'] or not inside:
                yield f"picture {p['number']}: not together, or without its number"
            if cards and not all(f['said'] for f in p['figures']):
                yield f"picture {p['number']}: a row without its name"
            if not cards:
                if len(band['names']) != len(p['figures']):
                    yield f"picture {p['number']}: {len(p['figures'])} pictures beside {len(band['names'])} names"
                for (name, top, height), f in zip(band['names'], p['figures']):
                    if name != f['name'] or abs(top - f['top']) > 2 or abs(f['left'] - p['figures'][0]['left']) > 1:
                        yield f"picture {p['number']}: {f['name']} is not level with its name {name}"

def faults(found, least, cards):
    "What is wrong with a view, in words."
    said = []
    for name, w, h, cw, ch in found['images']:
        if not w:
            said.append(f'{name}: cannot be shown')
        elif cw and ch and abs(cw*h/(ch*w) - 1) > .02:
            said.append(f'{name}: {w} x {h} is shown as {cw:.0f} x {ch:.0f}')
        elif min(cw, ch) < least - .5:
            said.append(f'{name}: {cw:.0f} x {ch:.0f} px')
    if found['page'] > found['wide'] + 1 or found['over']:
        said.append(f"the page is {found['page']} px wide, the screen {found['wide']}: {found['over'][:5]}")
    words = dict(small='small text', cut='cut off', faint='low contrast', clash='labels overlap', out='label outside its drawing')
    said += [f'{word}: {t}' for k, word in words.items() for t in found[k]]
    if any(moved > 1 for moved in found['stays']):
        said.append('the first column of a table scrolls away')
    if not found['bands'] or not found['images']:
        said.append('there are no pictures')
    return said + list(grouped(found['bands'], cards))

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('report', type=Path)
    p.add_argument('--least', type=int, default=96, help='pixels of the shorter side of the smallest picture')
    p.add_argument('--shots', type=Path, help='folder for a picture of each view, opened and closed')
    p.add_argument('--shot', type=Path, help='a .jpg of the top of the page at 1200 px, light, at most 150 kB')
    p.add_argument('--height', type=int, default=1000, help='pixels of --shot')
    a = p.parse_args()
    from playwright.sync_api import sync_playwright
    bad, asked = 0, []
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=shutil.which('chromium'), args=['--no-sandbox'])
        for width, scheme, media in VIEWS:
            page = browser.new_page(viewport=dict(width=width, height=900), color_scheme=scheme)
            page.on('request', lambda r: asked.append(r.url) if r.url.split(':')[0] not in ('file', 'data') else None)
            page.goto(a.report.resolve().as_uri())
            page.emulate_media(media=media, color_scheme=scheme)
            for state in ('closed', 'open'):
                if state == 'open':
                    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
                found = page.evaluate(LOOK)
                said = faults(found, a.least, cards=width < 760 or media == 'print')
                bad += len(said)
                print(f"{width} px, {scheme}, {media}, {state}: {found['numbers']} pictures, {'; '.join(said[:6]) or 'nothing wrong'}"
                      + f' and {len(said) - 6} more'*(len(said) > 6))
                if a.shots:
                    a.shots.mkdir(parents=True, exist_ok=True)
                    page.screenshot(path=a.shots/f'{width}-{scheme}-{media}-{state}.png', full_page=True)
            if a.shots and media == 'print':
                page.pdf(path=a.shots/'print.pdf', format='A4', margin=dict(top='10mm', bottom='10mm', left='10mm', right='10mm'))
            page.close()
        if a.shot:
            page = browser.new_page(viewport=dict(width=1200, height=a.height), color_scheme='light')
            page.goto(a.report.resolve().as_uri())
            store(page.screenshot(), a.shot)
        browser.close()
    if asked:
        bad += len(asked)
        print(f'asks for {asked[:3]}')
    sys.exit(bool(bad))

def store(png, path, most=150_000):
    "A jpeg of at most so many bytes."
    from PIL import Image
    for quality in range(90, 30, -5):
        out = io.BytesIO()
        Image.open(io.BytesIO(png)).convert('RGB').save(out, 'jpeg', quality=quality, optimize=True)
        if len(out.getvalue()) <= most:
            break
    path.write_bytes(out.getvalue())
    print(f'{path}: {len(out.getvalue())//1000} kB, quality {quality}')

if __name__ == '__main__':
    main()
