"""Measure how well each regression gives known responses back, in published tables of events.

    VISDEC_SHARED=/path/to/shared python .github/tools/measure_glm.py

Reads the real tables below `shared/data/real/bids` (GOD, NOD, THINGS-fMRI, BOLD5000); DeepRecon's blocks are written
from its paper: 54 pictures of 8 s without a gap, frames of 2 s. For each design: the condition number of its trials,
then the median correlation over voxels of planted responses and betas, by method, with white noise of .3 of the
largest time course, and with the noise of the book (2, memory .5 over one second); high-pass 128 s. The last column
is what `choose_method` takes when it measures the noise from the planted scan itself.

Exits 1 where the choice falls below what chapter 16 promises at .3 (GOD and DeepRecon .85, NOD and BOLD5000 .92)."""
import sys, warnings

import numpy as np

from visdec.core import shared_path
from visdec.files import find
from visdec.glm import METHODS, Plan, choose_method, condition, design, noise_of, planted_r, planted_scan
from visdec.runs import read_events

PROMISED = {'GOD': .85, 'GOD test': .85, 'GOD imagery': .95, 'DeepRecon-like': .85, 'NOD': .92, 'BOLD5000': .92}
REAL = {'GOD': ('*Training01*events.tsv', 3., {}), 'GOD test': ('*perceptionTest01*events.tsv', 3., {}),
        'GOD imagery': ('*imagery*events.tsv', 3., dict(kind='imagery')),
        'NOD': ('*task-imagenet_run-01_events.tsv', 2., {}), 'THINGS': ('*task-things*events.tsv', 1.5, {}),
        'BOLD5000': ('*5000scenes*events.tsv', 2., {})}

def blocks(n, length, first):
    "Events of pictures that follow each other without a gap."
    names = np.array([f'{i}.png' for i in range(n)])
    return dict(onset=first + length*np.arange(n), duration=np.full(n, length), kind=np.full(n, 'image'), image_id=names)

def plan_of(events, tr):
    "The regression of a run that ends 8 s after its last event, without confounds."
    end = events['onset'][-1] + events['duration'][-1] + 8
    times = tr/2 + tr*np.arange(int(end/tr))
    each, nuisance = design(events, times)
    return Plan(each, nuisance, times, times > 0, np.arange(each.shape[1]))

def main():
    at = shared_path('data', 'real', 'bids')
    if at is None: sys.exit('SKIPPED: no shared/data/real/bids; set VISDEC_SHARED')
    plans = {k: plan_of(read_events(find(at, name)[0], **more), tr) for k, (name, tr, more) in REAL.items()}
    plans['DeepRecon-like'] = plan_of(blocks(54, 8., 32.), 2.)
    below = 0
    print(f"{'design':15s} trials cond.  noise  " + '  '.join(f'{m:>5s}' for m in METHODS) + '   taken')
    for k, plan in plans.items():
        for noise, memory in ((.3, 0.), (2., .5)):
            r = {m: planted_r(plan, m, noise, memory) for m in METHODS}
            own, _ = choose_method([plan], noise_of(planted_scan(plan, noise, memory)[0], plan))
            below += noise == .3 and r[own] < PROMISED.get(k, 0)
            print(f'{k:15s} {plan.each.shape[1]:6d} {condition(plan):5.0f}  {noise:5g}  '
                  + '  '.join(f'{v:5.2f}' for v in r.values()) + f'   {own} {r[own]:.2f}', flush=True)
    sys.exit(bool(below))

if __name__ == '__main__':
    warnings.simplefilter('ignore')
    main()
