"""The ladder of chapter 84, climbed in the background: every decoder, several seeds, each rival beside its shuffled twin.

    nice -n 19 python .github/tools/ladder_study.py --data sim --preset small --seeds 0,1,2 [--twins] [--path FILE] [--work FOLDER]
                                                    [--rows "ridge,DC-LDM"] [--out nbs/fixtures/ladder_sim_small.json]

Resumable: a finished row is never computed again, and a training that was interrupted goes on. After each seed the table of all
seeds so far is written to --out, so that chapter 84 can show it: a stop at any time loses no more than one row. The table holds
scores with intervals, tests against the strongest simple row, minutes, numbers kept and peak memory; pictures stay in --work."""
import argparse, json, sys, time
from dataclasses import asdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from visdec.core import atomic_file
from visdec.ladder import LadderConfig, run_ladder
from visdec.standings import ladder_text

def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--data', default='sim')
    p.add_argument('--path', default='')
    p.add_argument('--preset', default='small')
    p.add_argument('--seeds', default='0')
    p.add_argument('--rows', default='')
    p.add_argument('--twins', action='store_true')
    p.add_argument('--work', default='/tmp/ladder_study')
    p.add_argument('--out', default='')
    a = p.parse_args()
    seeds = [int(s) for s in a.seeds.split(',')]
    rows = tuple(r.strip() for r in a.rows.split(',') if r.strip())
    out = Path(a.out or ROOT/f'nbs/fixtures/ladder_{a.data}_{a.preset}.json')
    work = Path(a.work)/f'{a.data}-{a.preset}'
    def say(line): print(time.strftime('%H:%M'), line, flush=True)
    for n in range(1, len(seeds) + 1):
        config = LadderConfig(a.data, a.path, '', a.preset, tuple(seeds[:n]), rows, (), a.twins)
        found = run_ladder(config, work, say)
        about = {k: v for k, v in vars(found).items() if k not in ('pictures', 'config')}
        shown = asdict(config) | dict(path=Path(a.path).name)          # no folder of this machine
        with atomic_file(out) as tmp: tmp.write_text(json.dumps(about | dict(config=shown), indent=1) + '\n', encoding='utf-8')
        print(ladder_text(found) + f'\nwritten: {out}', flush=True)

if __name__ == '__main__': main()
