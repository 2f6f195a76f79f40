"""The audit of chapter 53 on every row of the ladder: do honest rows pass, and are the transductive ones flagged?

    nice -n 10 python .github/tools/audit_rows.py [--rows "ridge,IC-GAN"] [--out nbs/fixtures/audit_rows.json] [--work FOLDER]

The world is `small`, seed 0. SS-AE and the GANs have their `tiny` size: what a decoder looks at does not depend on how long it
was trained. Codec and prior are the shipped ones, phase 1 takes 60 steps. Honest rows go through the whole audit with one
shuffled twin; of the transductive ones the checks of leaks are asked (B0 to B2, B5, and B4 where the training looks at the test).
Resumable: a row that stands in the file is not asked again."""
import argparse, json, sys, time
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from visdec.controls import audit
from visdec.core import atomic_file
from visdec.ladder import open_site
from visdec.leaks import Case, check_answers, check_training
from visdec.rungs import ASIDE, RUNGS, LadderConfig
from visdec.shipped import seen_pictures
from visdec.stages import Stages

def asked(decoder, study, trained):
    "The checks of leaks: of answers, and of training where it is the training that looks at the test."
    case = Case(decoder, study)
    return dict(lines=check_answers(case, 1) + [check_training(case, 'B4')]*trained, claim=dict(allowed=None))

def short(card, seconds):
    "What the table keeps of a card."
    def named(verdict): return [f"{k['letter']} {k['check']}" for k in card['lines'] if k['verdict'] == verdict]
    said = {f"{k['letter']} {k['check']}": k['sentence'] for k in card['lines'] if k['verdict'] == 'failed'}
    score = {k['letter']: round(k['value'], 3) for k in card['lines'] if k['check'] in ('shuffled twin', 're-paired')}
    return dict(failed=named('failed'), passed=named('passed'), missing=named('not applicable'), said=said, score=score,
                claim=card['claim']['allowed'], seconds=round(seconds))

def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--rows', default='')
    p.add_argument('--out', default=str(ROOT/'nbs/fixtures/audit_rows.json'))
    p.add_argument('--work', default='/tmp/audit_rows')
    a = p.parse_args()
    out, only = Path(a.out), [r.strip() for r in a.rows.split(',') if r.strip()]
    found = json.loads(out.read_text()) if out.exists() else {}
    site = open_site(LadderConfig(preset='small'), '', 0, Stages(Path(a.work)))
    method = site.method
    site = site._replace(preset='tiny', method=replace(method, pretrain=replace(method.pretrain, steps=60)))
    also = seen_pictures(site.study.size, 4, 1)
    for rung in RUNGS + ASIDE:
        if rung.name in found or only and rung.name not in only:
            continue
        start, decoder = time.time(), rung.make(site)
        if rung.transductive:
            card = asked(decoder, site.study, 'batch' not in rung.name)
        else:
            card = audit(decoder, site.study, alone=1, also=also, name=rung.name)
        found[rung.name] = short(card, time.time() - start)
        with atomic_file(out) as tmp:
            tmp.write_text(json.dumps(found, indent=1) + '\n', encoding='utf-8')
        print(f"{rung.name:36s} {found[rung.name]['seconds']:4d} s  {', '.join(found[rung.name]['failed']) or '-'}", flush=True)

if __name__ == '__main__':
    main()
