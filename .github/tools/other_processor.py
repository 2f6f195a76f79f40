"""Does a saved decoder draw the same pictures on another kind of processor? Decodes once with each set of instructions.

    python .github/tools/other_processor.py visdec-run        a finished run of the simulated brain, digits or a recording

One processor stands in for others: torch, oneDNN and MKL choose their kernels by the instructions they are allowed. Each
decoding is a process of its own, on the run's own test responses, one sample each. Prints the share of pixels that are
equal, and that differ by no more than 2 grey levels, from the first set; exits 1 when that share is below 99.9 %."""
import argparse, os, subprocess, sys, tempfile
from pathlib import Path

import numpy as np

SETS = {'as it is': {},
        'AVX2': dict(ATEN_CPU_CAPABILITY='avx2', ONEDNN_MAX_CPU_ISA='AVX2', MKL_ENABLE_INSTRUCTIONS='AVX2', MKL_CBWR='AVX2'),
        'SSE4': dict(ATEN_CPU_CAPABILITY='default', ONEDNN_MAX_CPU_ISA='SSE41', MKL_ENABLE_INSTRUCTIONS='SSE4_2',
                     MKL_CBWR='COMPATIBLE')}

def decode(run, file):
    "The run's test responses through its saved decoder, one sample each."
    import torch
    from visdec.decode import BrainToImagePipeline
    from visdec.pipeline import saved_config
    from visdec.stages import Stages
    from visdec.study import open_study
    pipe = BrainToImagePipeline.from_pretrained(Stages(run).result('finetune'))
    pipe.set_progress_bar_config(disable=True)
    np.save(file, pipe.decode(open_study(saved_config(run).study).tested(2).mean, samples=1, seed=0))
    print(torch.backends.cpu.get_cpu_capability())

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('run')
    p.add_argument('--into', default='', help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.into: return decode(a.run, a.into)
    with tempfile.TemporaryDirectory() as folder:
        first, worst = None, 1.
        for name, allowed in SETS.items():
            file = Path(folder)/f'{name}.npy'
            done = subprocess.run([sys.executable, __file__, a.run, '--into', str(file)], env=os.environ | allowed,
                                  capture_output=True, text=True)
            if done.returncode: sys.exit(done.stderr[-2000:])
            pictures = np.load(file).astype(int)
            first = pictures if first is None else first
            apart = abs(pictures - first)
            worst = min(worst, (apart <= 2).mean())
            print(f'{name:9s} kernels {done.stdout.split()[-1]:8s} {len(pictures)} pictures: equal {(apart == 0).mean():.6f}, '
                  f'within 2 grey levels {(apart <= 2).mean():.6f}, most {apart.max()}', flush=True)
    sys.exit(worst < .999)

if __name__ == '__main__': main()
