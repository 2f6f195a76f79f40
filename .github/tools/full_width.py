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

def compvis_unet(name, layers, attention):
    "The name of a weight in CompVis' file, from diffusers' name; `attention`: levels that have it, from the finest."
    for a, b in {'conv_in': 'input_blocks.0.0', 'conv_norm_out': 'out.0', 'conv_out': 'out.2',
                 'time_embedding.linear_1': 'time_embed.0', 'time_embedding.linear_2': 'time_embed.2',
                 'mid_block.resnets.0': 'middle_block.0', 'mid_block.attentions.0': 'middle_block.1',
                 'mid_block.resnets.1': 'middle_block.2'}.items():
        if name.startswith(a + '.'): name = b + name[len(a):]
    if m := re.match(r'(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.', name):
        side, level, kind, place = m[1], int(m[2]), m[3], int(m[4])
        rest = name[m.end():]
        if side == 'down':
            at = level*(layers + 1) + place + 1
            head = f'input_blocks.{at + layers}.0.op.' if kind == 'downsamplers' else f"input_blocks.{at}.{int(kind == 'attentions')}."
        else:
            at = level*(layers + 1) + place
            deep = attention[::-1][level]
            head = f'output_blocks.{at + layers}.{1 + deep}.conv.' if kind == 'upsamplers' else f"output_blocks.{at}.{int(kind == 'attentions')}."
        name = head + (rest.removeprefix('conv.') if kind.endswith('samplers') else rest)
    if 'transformer_blocks' not in name:
        for a, b in {'norm1': 'in_layers.0', 'conv1': 'in_layers.2', 'time_emb_proj': 'emb_layers.1', 'norm2': 'out_layers.0',
                     'conv2': 'out_layers.3', 'conv_shortcut': 'skip_connection'}.items():
            name = name.replace(f'.{a}.', f'.{b}.')
    return name

def compvis_vq(name, levels):
    "The name of a weight of the codec in CompVis' file, from diffusers' name."
    name = re.sub(r'up_blocks\.(\d)', lambda m: f'up.{levels - 1 - int(m[1])}', name).replace('down_blocks', 'down')
    for a, b in {'mid_block.resnets.0': 'mid.block_1', 'mid_block.resnets.1': 'mid.block_2',
                 'mid_block.attentions.0.group_norm': 'mid.attn_1.norm', 'mid_block.attentions.0.to_out.0': 'mid.attn_1.proj_out',
                 'mid_block.attentions.0.to_': 'mid.attn_1.', '.resnets.': '.block.', 'conv_shortcut': 'nin_shortcut',
                 'conv_norm_out': 'norm_out', 'downsamplers.0.conv': 'downsample.conv', 'upsamplers.0.conv': 'upsample.conv'}.items():
        name = name.replace(a, b)
    return name

def write_ldm(path):
    "A checkpoint with the names and shapes of cin256-v2, random."
    from diffusers import UNet2DConditionModel, VQModel
    from visdec.checkpoints import unet_name, vq_name
    from visdec.parts import CIN256, VQ_CIN, unet_settings, vq_settings
    torch.manual_seed(0)
    unet, codec = UNet2DConditionModel(**unet_settings(CIN256)), VQModel(**vq_settings(VQ_CIN))
    state = {f'model.diffusion_model.{compvis_unet(k, 2, [0, 1, 1, 1])}': v for k, v in unet.state_dict().items()}
    for k, v in codec.state_dict().items():
        state[f'first_stage_model.{compvis_vq(k, 3)}'] = v[..., None, None] if 'attentions.0.to_' in k and v.ndim == 2 else v
    stems = {'model.diffusion_model.': (unet, lambda n: unet_name(n, 2)), 'first_stage_model.': (codec, lambda n: vq_name(n, 3))}
    for stem, (model, ours) in stems.items():
        assert {ours(k[len(stem):]) for k in state if k.startswith(stem)} == set(model.state_dict())
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
