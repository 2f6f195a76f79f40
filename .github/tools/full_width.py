"""Walk the published path once at its full widths, with random weights in published layouts (20 min of CPU, 16 GB of disk).

    python .github/tools/full_width.py /tmp/full            write the files where they are missing, then run
    python .github/tools/full_width.py /tmp/full --bs 1     smaller batches in phases 2 and 3
    python .github/tools/full_width.py /tmp/full --device cuda --steps 5

One step of each phase and two sampling steps through `visdec reproduce god`: a store of 4,183 grayordinates, a recording
of 4,643 voxels with pictures of 256 rows, an image model of ViT-MAE's base size, and a checkpoint with the names and
shapes of cin256-v2 (1.8 GB). Nothing of it means anything but sizes: numbers of parameters are asserted, peak memory
of the whole process is printed, and the command fails above --most GB (12 unless told; no limit on a GPU)."""
import argparse, os, re, subprocess, sys, time
from pathlib import Path

import numpy as np
import torch

def write_ldm(path):
    "A checkpoint with the names and shapes of cin256-v2, random."
    from diffusers import UNet2DConditionModel, VQModel
    from visdec.checkpoints import compvis_state
    from visdec.ldm import CIN256, VQ_CIN, unet_settings, vq_settings
    torch.manual_seed(0)
    state = compvis_state(UNet2DConditionModel(**unet_settings(CIN256)), VQModel(**vq_settings(VQ_CIN)))
    state['cond_stage_model.embedding.weight'] = torch.randn(1001, 512)
    torch.save(dict(state_dict=state, global_step=1), path)

def write(root):
    "Every file that is not there yet."
    from visdec.image_mae import ImageAutoencoder
    from visdec.recording import Recording
    root.mkdir(parents=True, exist_ok=True)
    counts = dict(V1=1618, V2=1220, V3=684, V4=661)
    for k, who in enumerate(('100307', '100408') if not (root/'hcp').exists() else ()):
        (root/'hcp'/who).mkdir(parents=True)
        g = np.random.default_rng(k)
        np.savez(root/'hcp'/who/'HCP_visual_voxel.npz', **{r: g.normal(size=(200, n)).astype(np.float32) for r, n in counts.items()})
    if not (root/'task').exists():
        g = np.random.default_rng(9)
        pictures = {f'p{i:02d}': g.integers(0, 256, (256, 256, 3), dtype=np.uint8) for i in range(12)}
        ids = [f'p{i:02d}' for i in range(10)] + ['p10', 'p11']*2
        Recording.from_arrays(g.normal(size=(14, 4643)), ids, ['train']*10 + ['test']*4, 'sub-03', 'ses-1', run=['r1']*14,
                              stimuli=pictures).save(root/'task')
    if not (root/'vit').exists():
        torch.manual_seed(1)
        ImageAutoencoder().save_pretrained(root/'vit')
    if not (root/'model.ckpt').exists(): write_ldm(root/'model.ckpt')

def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('folder', type=Path); ap.add_argument('--bs', type=int, default=2); ap.add_argument('--steps', type=int, default=1)
    ap.add_argument('--device', default='cpu'); ap.add_argument('--most', type=float, default=12.)
    a = ap.parse_args()
    write(a.folder)
    program = '''
import resource, sys, time
from visdec.cli import main
start = time.time()
code = main(sys.argv[1:])
import torch
gpu = torch.cuda.max_memory_allocated()/2**30 if torch.cuda.is_available() else 0
print(f'{time.time() - start:.0f} s, peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/2**20:.2f} GB, on the GPU {gpu:.2f} GB')
sys.exit(code)'''
    def visdec(*words):
        p = subprocess.Popen([sys.executable, '-c', program, *map(str, words)], cwd=a.folder, stdout=subprocess.PIPE, text=True)
        out = ''
        for line in p.stdout:
            print(line, end='', flush=True)
            out += line
        assert p.wait() == 0, f'visdec {words[0]} failed'
        return float(re.search(r'peak memory ([\d.]+) GB', out)[1])
    if not (a.folder/'store').exists(): visdec('prepare', 'hcp', 'hcp', 'store')
    few = [w for k in ('pretrain', 'tune', 'finetune') for s in ('epochs=0', f'steps={a.steps}', 'warmup=0', f'bs={a.bs}') for w in ('--set', f'{k}.{s}')]
    start, out = time.time(), f'run-{os.getpid()}'
    peak = visdec('reproduce', 'god', '--task', 'task', '--rest', 'store', '--image-model', 'vit', '--ldm', 'model.ckpt', '--out', out,
                  '--device', a.device, '--until', 'decode', *few, '--set', 'sampling.steps=2', '--set', 'sampling.samples=1',
                  '--set', 'finetune.checkpointing=true')
    from visdec.contrast import DCMAE
    from visdec.decode import BrainToImagePipeline
    from visdec.stages import Stages
    kept = Stages(a.folder/out)
    def count(m): return sum(p.numel() for p in m.parameters())
    pipe = BrainToImagePipeline.from_pretrained(kept.result('finetune'))
    found = count(DCMAE.from_pretrained(kept.result('pretrain'))), count(pipe.unet), count(pipe.codec)
    print('parameters of phase 1 (4,643 voxels), denoiser, codec:', *(f'{n:,}' for n in found))
    assert found == (164_823_568 + (291 - 262)*(1024 + 512), 400_920_579, 55_322_782)
    print(f'whole path: {time.time() - start:.0f} s, peak {peak:.2f} GB')
    assert a.device != 'cpu' or peak <= a.most, f'more than {a.most} GB'

if __name__ == '__main__': main()
