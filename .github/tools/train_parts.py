#!/usr/bin/env python3
"""Train the codec and the prior that visdec ships, on pictures of worlds that no experiment shows.

    python .github/tools/train_parts.py --size 32 --out parts32 --minutes 240
    python .github/tools/train_parts.py --size 64 --out parts64 --minutes 8 --device cuda --bs 1024
    python .github/tools/train_parts.py --size 64 --out more64 --init parts64 --minutes 90 --lr 7e-4      go on from finished parts

Four stages, each kept in --out: pictures, codec, readings, prior. It may be stopped at any time and goes on from its last
checkpoint. The numbers of steps follow from --minutes and the speed of the first steps, and are written down before training.
Chapters 33 (which pictures), 40 (codec), 42 (prior) and 56 (readings, curve, scores) explain what happens here."""
import argparse, json, os, platform, time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from diffusers import VQModel
from torch.nn import functional as F

from visdec.autoencoder import decode, encode, pixels_to_channels, seed_codebook, square_side, start_small
from visdec.core import atomic_file, derive, rng
from visdec.crossfit import cross_fit
from visdec.look import seen_of
from visdec.mae import fresh
from visdec.noise import schedule
from visdec.reserved import RESERVED, reserved_pictures
from visdec.ridge import fold_of, straight
from visdec.sim import CHANNELS, Cortex, channels, content, draw_world, noise_levels, noise_of, spontaneous
from visdec.unet import Prior

CODECS = {32: dict(fold=4, channels=(96,)), 64: dict(fold=4, channels=(64, 96))}
VOXELS = {32: 1024, 64: 2048}
BANK = 4096                                                  # noises of each brain

def codec_sizes(size):
    "Arguments of diffusers' VQModel; latents are 8 x 8 at both sizes."
    fold, channels = CODECS[size]['fold'], CODECS[size]['channels']
    return dict(in_channels=3*fold**2, out_channels=3*fold**2, block_out_channels=channels, layers_per_block=2,
                latent_channels=4, vq_embed_dim=4, num_vq_embeddings=8192, norm_num_groups=8, sample_size=size,
                mid_block_add_attention=True, scaling_factor=1.,
                down_block_types=('DownEncoderBlock2D',)*len(channels), up_block_types=('UpDecoderBlock2D',)*len(channels))

def unet_sizes():
    "Arguments of diffusers' UNet2DConditionModel: what 25 looks on two cores can afford."
    return dict(in_channels=4, out_channels=4, sample_size=8, block_out_channels=(64, 96), layers_per_block=1,
                norm_num_groups=16, cross_attention_dim=64, attention_head_dim=2, class_embed_type='identity',
                time_embedding_dim=256, down_block_types=('CrossAttnDownBlock2D',)*2, up_block_types=('CrossAttnUpBlock2D',)*2)

# ---- pictures -------------------------------------------------------------------------------------------------------
def one_world(job):
    "Pictures of one reserved world, what early vision makes of them, and what they show."
    seed, each, size = job
    pictures, numbers = reserved_pictures(seed, each, size)
    maps = channels(pictures, 32).astype(np.float16)
    return pictures, maps.reshape(len(maps), -1), content(numbers, seed).astype(np.float16), numbers

def one_brain(job):
    "A simulated brain of a reserved world: responses of single trials to its own pictures, noise, and its linear answer."
    seed, size = job
    cortex = Cortex(VOXELS[size], seed=seed, side=32)
    pictures, number = draw_world({32: 'small', 64: 'medium'}[size], 'train', seed)
    signal, level = cortex.respond(pictures, number), noise_levels(cortex, 'sub-01')
    noise = (level*noise_of(spontaneous(cortex, len(signal) + BANK, g := rng(seed, 'readings')), g)).astype(np.float32)
    middle, sd = signal.mean(0), np.sqrt(signal.var(0) + level**2)
    seen, scale = cortex.seen, 1/(cortex.sd*sd)
    # the answer of a voxel is linear in channels and content
    to_voxel = np.zeros((len(sd), 32*32, len(CHANNELS)), np.float32)
    to_voxel[seen] = cortex.field[seen].reshape(seen.sum(), -1, 1)*cortex.weight[seen][:, None]
    return dict(pictures=pictures, number=number, x=((signal + noise[:len(signal)] - middle)/sd).astype(np.float32),
                noise=(noise[len(signal):]/sd).astype(np.float32), power=np.float32((level**2/sd**2).mean()),
                to_voxel=(to_voxel.reshape(len(sd), -1)*scale[:, None]).astype(np.float32),
                mix=(cortex.mix*scale[:, None]).astype(np.float32), shift=(-cortex.mean*scale - middle/sd).astype(np.float32))

def make_brains(args):
    "The brains whose readings the prior is told."
    with ProcessPoolExecutor(args.workers) as pool:
        return list(pool.map(one_brain, [(RESERVED + w, args.size) for w in range(args.brains)]))

def make_pictures(args, out, worlds):
    "All pictures of the reserved worlds, drawn once."
    file = out/f'pictures-{len(worlds)}-{args.each}.npz'
    if not file.exists():
        jobs = [(RESERVED + w, args.each, args.size) for w in worlds]
        with ProcessPoolExecutor(args.workers) as pool:
            parts = list(pool.map(one_world, jobs))
        world = np.repeat([s for s, *_ in jobs], [len(p[0]) for p in parts])
        with atomic_file(file) as tmp, open(tmp, 'wb') as f:
            np.savez(f, world=world, **{k: np.concatenate([p[i] for p in parts])
                                        for i, k in enumerate(('pictures', 'maps', 'content', 'number'))})
    return np.load(file)

# ---- a loop that can be stopped ---------------------------------------------------------------------------------------
def pace(step, total, lr, warmup=200):
    "The learning rate: linear warm-up, then half a cosine."
    return float(lr*min(1, (step + 1)/warmup)*(.5*(1 + np.cos(np.pi*min(1, step/total))) + .01))

class Loop:
    "Steps of one model: on a GPU captured once and replayed, else as they come."
    def __init__(self, model, loss, lr, device, ema=0., wd=.01, half=False):
        self.model, self.loss, self.device, self.ema, self.half = model, loss, device, ema, half
        gpu = device.type == 'cuda'
        self.lr = torch.tensor(lr, device=device) if gpu else lr
        self.own = [p for p in model.parameters() if p.requires_grad]
        groups = [dict(params=[p for p in self.own if p.ndim > 1], weight_decay=wd),
                  dict(params=[p for p in self.own if p.ndim <= 1], weight_decay=0.)]
        self.opt = torch.optim.AdamW(groups, lr=self.lr, betas=(.9, .99), capturable=gpu, fused=True)
        self.mean = [p.detach().clone() for p in self.own] if ema else []
        self.graph, self.still = None, None

    def once(self, batch):
        self.opt.zero_grad(set_to_none=False)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            loss = self.loss(self.model, batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.own, 1., foreach=True)
        self.opt.step()
        return loss.detach()

    def step(self, batch, lr, step):
        if torch.is_tensor(self.lr):
            self.lr.fill_(lr)                           # read by the captured graph
        else:
            for group in self.opt.param_groups:
                group['lr'] = lr
        loss = self.taken(batch)
        if self.mean:
            with torch.no_grad():
                torch._foreach_lerp_(self.mean, self.own, 1 - min(self.ema, (step + 1)/(step + 10)))
        return loss

    def taken(self, batch):
        if self.device.type != 'cuda' or self.graph is False:
            return self.once(batch)
        if self.graph is None:
            return self.capture(batch)
        for k, v in batch.items():
            self.still[k].copy_(v)
        self.graph.replay()
        return self.out

    def capture(self, batch):
        self.still = {k: v.clone() for k, v in batch.items()}
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                out = self.once(self.still)
        torch.cuda.current_stream().wait_stream(side)
        try:
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                self.out = self.once(self.still)
            self.graph = graph
        except Exception as e:
            print('no graph:', type(e).__name__, str(e)[:200], flush=True)
            torch.cuda.synchronize()
            self.graph = False
        return out

    def state(self): return dict(model=self.model.state_dict(), opt=self.opt.state_dict(), mean=self.mean)

    def load(self, state):
        self.model.load_state_dict(state['model'])
        self.opt.load_state_dict(state['opt'])
        for group in self.opt.param_groups:
            group['lr'] = self.lr
        for a, b in zip(self.mean, state['mean']):
            a.copy_(b)

    def averaged(self):
        for a, b in zip(self.own, self.mean):
            a.data.copy_(b)

def train(name, loop, make_batch, lr, minutes, args, out, judge=None):
    "Steps until the minutes are used; goes on from the last checkpoint; returns the curve."
    file, device = out/f'{name}.pt', loop.device
    done, curve, total, spent = 0, [], None, 0.
    if file.exists():
        saved = torch.load(file, map_location=device, weights_only=True)
        loop.load(saved['loop'])
        done, curve, total, spent = saved['done'], saved['curve'], saved['total'], saved['spent']
    start, kept, losses = time.time(), time.time(), []
    def save():
        with atomic_file(file) as tmp:
            torch.save(dict(loop=loop.state(), done=done, curve=curve, total=total,
                            spent=spent + time.time() - start), tmp)
    while total is None or done < total:
        g = torch.Generator(device).manual_seed(derive(args.seed, name, done) % 2**63)
        losses.append(loop.step(make_batch(g), pace(done, total or 10**9, lr), done).clone())
        done += 1
        if total is None and done == args.probe:
            if device.type == 'cuda':
                torch.cuda.synchronize()
            first = time.time()
        if total is None and done == 4*args.probe:
            if device.type == 'cuda':
                torch.cuda.synchronize()
            each = (time.time() - first)/(3*args.probe)
            total = max(done + 1, int((60*minutes - (time.time() - start))/each))
            print(f'{name}: {1000*each:.1f} ms a step, {total} steps', flush=True)
        if done % args.log == 0 or done == total:
            line = dict(step=done, loss=torch.stack(losses).mean().item(), seconds=round(spent + time.time() - start, 1))
            losses = []
            if judge and (done % (10*args.log) == 0 or done == total):
                line |= judge()
            curve.append(line)
            print(name, line, flush=True)
        if time.time() - kept > 60*args.save:
            save()
            kept = time.time()
    if loop.mean:
        loop.averaged()
    save()
    return curve, dict(steps=total, bs=args.bs, seconds=round(spent + time.time() - start))

# ---- codec ------------------------------------------------------------------------------------------------------------
def codec_loss(codec, batch, quantise):
    "As `visdec.autoencoder.codec_losses`, without its copies from the CPU, which no CUDA graph can hold."
    pixels = pixels_to_channels(batch['image'], square_side(codec))
    z, commit = codec.encode(pixels).latents, 0.
    if quantise:
        z, commit, _ = codec.quantize(z)
    out = codec.decoder(codec.post_quant_conv(z))
    return F.mse_loss(out, pixels) + .1*F.l1_loss(out, pixels) + commit

def as_input(pictures): return pictures.permute(0, 3, 1, 2).float()/127.5 - 1

def train_codec(args, out, pictures, device, judged):
    "Two stages, as in chapter 40: without a codebook, then with codes found by k-means."
    codec = fresh(VQModel, codec_sizes(args.size), args.seed, 'codec').to(device)
    start_small(codec)
    bank = torch.as_tensor(pictures).to(device)
    def batch(g):
        return dict(image=as_input(bank[torch.randint(len(bank), (args.codec_bs,), generator=g, device=device)]))
    def judge():
        codec.eval()
        back = decode(codec, encode(codec, judged), quantise=now)
        codec.train()
        return dict(held_mse=float(((back/255. - judged/255.)**2).mean()))
    curves, about = {}, {}
    for name, now, share, lr in (('codec-warm', False, .35, 2e-3), ('codec', True, .65, 1.5e-3)):
        done = (out/f'{name}.pt').exists()
        if now and not done:
            codec.eval()
            some = pictures[rng(args.seed, 'some').permutation(len(pictures))[:4000]]
            seed_codebook(codec, encode(codec, some), args.seed, 200_000)
        codec.train()
        codec.quantize.requires_grad_(now)
        loop = Loop(codec, lambda m, b: codec_loss(m, b, now), lr, device, ema=.999 if now else 0., wd=0.)
        curves[name], about[name] = train(name, loop, batch, lr, share*args.codec_minutes, args, out, judge)
    codec.eval()
    some = pictures[:4000]
    codec.register_to_config(scaling_factor=1/encode(codec, some).std().item())
    return codec, curves, about

# ---- readings ---------------------------------------------------------------------------------------------------------
def reader(made, codec, labels, device):
    "The ridge readout of a brain: map from channels and content, noise of its readings, its share of the length."
    pictures = made['pictures']
    x = torch.as_tensor(made['x'], device=device).double()
    y = labels.standardise(seen_of(encode(codec, pictures), pictures).to(device))[:, :-1].flatten(1).double()
    alpha, _ = cross_fit(x, y, fold_of(made['number'], 5, 0))
    weight, bias = straight(x, y, alpha)
    bank = torch.as_tensor(made['noise'], device=device) @ weight.T.float()
    whole = {k: torch.as_tensor(made[k], device=device) for k in ('to_voxel', 'mix', 'shift')}
    return whole | dict(weight=weight.float(), bias=bias.float(), bank=bank.half(), power=float(made['power']))

def read_all(brain, maps, content, device, bs=2048):
    "Noise-free readings of all pictures, and the mean square of the noise-free responses."
    told, square = [], []
    for i in range(0, len(maps), bs):
        m = torch.as_tensor(maps[i:i+bs], device=device).float()
        c = torch.as_tensor(content[i:i+bs], device=device).float()
        x = m @ brain['to_voxel'].T + c @ brain['mix'].T + brain['shift']
        told.append((x @ brain['weight'].T + brain['bias']).half())
        square.append(x.square().mean(1))
    return torch.cat(told), torch.cat(square)

# ---- prior ------------------------------------------------------------------------------------------------------------
def train_prior(args, out, data, brains, codec, device, began):
    "A denoiser that is told clean looks, readings of single trials up to averages of 35, or nothing."
    pictures = data['pictures']
    z = encode(codec, pictures)
    if args.init:
        prior = Prior.from_pretrained(args.init/'prior').float().to(device).train()
    else:
        prior = fresh(Prior.of, dict(unet=unet_sizes(), depth=5, width=160, length=True), args.seed, 'prior').to(device)
    some = seen_of(z, pictures).to(device)
    looks = prior.labels.standardise(some, learn=not args.init)[:, :-1].flatten(1).half()
    shape = tuple(some.shape[1:])
    told, square, banks, powers = [], [], [], []
    for w in range(args.brains):
        brain = reader(brains[w], codec, prior.labels, device)
        a, b = read_all(brain, data['maps'], data['content'], device)
        told.append(a)
        square.append(b)
        banks.append(brain['bank'])
        powers.append(brain['power'])
        print(f'brain {w}: correlation of noise-free readings and looks '
              f'{torch.corrcoef(torch.stack([a[:2000].float().flatten(), looks[:2000].float().flatten()]))[0, 1]:.3f}', flush=True)
    told, square, banks = torch.stack(told), torch.stack(square), torch.stack(banks)
    powers, z = torch.tensor(powers, device=device), z.to(device)
    abar = schedule().alphas_cumprod.to(device)
    n_held = len(z)//20                                     # the last worlds judge
    def draw(g, n, low, high):
        def rand(*s): return torch.rand(*s, generator=g, device=device)
        def pick(k): return torch.randint(k, (n,), generator=g, device=device)
        i, w = low + pick(high - low), pick(len(told))
        repeats = torch.exp(rand(n)*np.log(35.))
        a = rand(n, 1)
        noise = a.sqrt()*banks[w, pick(BANK)].float() + (1 - a).sqrt()*banks[w, pick(BANK)].float()
        reading = told[w, i].float() + noise/repeats[:, None].sqrt()
        length = (square[w, i] + powers[w]/repeats).sqrt()
        clean, silent = rand(n) < .12, rand(n) < .1
        seen = torch.where(clean[:, None], looks[i].float(), reading)
        seen = seen.masked_fill(silent[:, None], 0).view(n, *shape)
        length = length.masked_fill(clean | silent, 0)
        t = ((torch.randperm(n, generator=g, device=device) + rand(n))*1000/n).long().clamp(max=999)
        eps = torch.randn(n, *z.shape[1:], generator=g, device=device)
        s = abar[t].view(-1, 1, 1, 1)
        return dict(z_t=s.sqrt()*z[i] + (1 - s).sqrt()*eps, t=t, target=s.sqrt()*eps - (1 - s).sqrt()*z[i],
                    told=prior.labels.stamped(seen, length))
    def loss(m, b): return F.mse_loss(m(b['z_t'], b['t'], b['told']).float(), b['target'])
    loop = Loop(prior, loss, args.lr, device, ema=args.ema, half=device.type == 'cuda')
    @torch.no_grad()
    def judge():
        g = torch.Generator(device).manual_seed(1)
        parts = []
        for _ in range(4):
            with torch.autocast(device.type, torch.bfloat16, enabled=loop.half):
                parts.append(loss(prior, draw(g, 512, len(z) - n_held, len(z))).item())
        return dict(held=float(np.mean(parts)))
    batch = lambda g: draw(g, args.bs, 0, len(z) - n_held)
    minutes = (args.until - time.time() + began)/60 if args.until else args.minutes
    curve, about = train('prior', loop, batch, args.lr, minutes, args, out, judge)
    return prior, curve, about

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--size', type=int, choices=sorted(CODECS), default=32)
    p.add_argument('--out', type=Path, required=True)
    p.add_argument('--init', type=Path, help='folder of codec and prior to go on from; the codec stays')
    p.add_argument('--minutes', type=float, default=120., help='of the prior')
    p.add_argument('--until', type=float, default=0., help='seconds after the start at which the prior ends, in place of --minutes')
    p.add_argument('--codec-minutes', type=float, default=60.)
    p.add_argument('--worlds', type=int, default=64, help='reserved worlds whose pictures are drawn')
    p.add_argument('--each', type=int, default=10, help='pictures of each category')
    p.add_argument('--brains', type=int, default=8, help='simulated brains whose readings are told')
    p.add_argument('--bs', type=int, default=128)
    p.add_argument('--codec-bs', type=int, default=128)
    p.add_argument('--lr', type=float, default=1e-3)
    p.add_argument('--ema', type=float, default=.999)
    p.add_argument('--seed', type=int, default=0)
    p.add_argument('--device', default='cpu')
    p.add_argument('--workers', type=int, default=os.cpu_count())
    p.add_argument('--probe', type=int, default=20)
    p.add_argument('--log', type=int, default=100)
    p.add_argument('--save', type=float, default=5., help='minutes between checkpoints')
    args = p.parse_args()
    out, device = args.out, torch.device(args.device)
    out.mkdir(parents=True, exist_ok=True)
    if device.type == 'cuda':
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    began = time.time()
    data = make_pictures(args, out, range(args.worlds))
    data = {k: data[k] for k in data.files}
    brains = make_brains(args)
    print(f"{len(data['pictures'])} pictures of {args.worlds} worlds, {time.time() - began:.0f} s", flush=True)
    held = data['pictures'][-512:]
    if args.init:
        codec, curves, about = VQModel.from_pretrained(args.init/'codec').float().to(device).eval(), {}, {}
    else:
        codec, curves, about = train_codec(args, out, data['pictures'][:-512], device, held)
    codec.half().save_pretrained(out/'codec')
    codec.float()
    prior, curves['prior'], about['prior'] = train_prior(args, out, data, brains, codec, device, began)
    prior.half().save_pretrained(out/'prior')
    name = torch.cuda.get_device_name() if device.type == 'cuda' else platform.processor() or platform.machine()
    card = dict(size=args.size, worlds=args.worlds, pictures=len(data['pictures']), brains=args.brains, device=name,
                torch=torch.__version__, about=about, curves=curves, seconds=round(time.time() - began))
    (out/'card.json').write_text(json.dumps(card))
    print('done', card['seconds'], flush=True)

if __name__ == '__main__':
    main()
