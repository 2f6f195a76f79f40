"""Measure the parts that take the time, side by side in one run, as shares of what the machine can do.

    python .github/tools/bench.py paper                    phase 1: 4,192 voxels, 164.8 M parameters, batch 8 and 24: time, memory (5 min)
    python .github/tools/bench.py curve                    phase 1: time over batch and width at the shapes of tiny and small
    python .github/tools/bench.py gpu --bs 250             phase 1 on one GPU, bf16: plain, fast, compiled
    python .github/tools/bench.py prior --preset small     a step of the prior: eager, replayed on a GPU, compiled (--modes default)
    python .github/tools/bench.py sampling --preset small  a look of the sampler, for passes of 8 to 512 rows
    python .github/tools/bench.py loader                   share of its time that phase 1 waits for its batches
    python .github/tools/bench.py paper --rounds 3 --json out.json
    python .github/tools/bench.py prior --device cuda      any part that takes --device

Phase 1 comes in variants:
plain   two separate passes, attention by an explicit softmax, AdamW parameter by parameter
fast    both views in one pass, fused attention, fused AdamW: what `pretrain` does
lean    fast, with gradient checkpointing (TrainConfig.checkpointing)
compiled  fast, its losses as one program (TrainConfig.compile)
blocks  fast, each kind of block as one program (compile='blocks'); with +low the tokens between blocks are bfloat16,
        with +cudnn attention asks cuDNN first

Each variant lives in a process of its own and makes a step when told to, so the variants take turns within every
round; the first step of each is not counted. Times are medians over rounds, memory is the peak of the process
(VmHWM; on a GPU torch's own peak). The rate of the chip is that of a large matrix product in the same run."""
import argparse, json, os, platform, statistics, subprocess, sys, time

PAPER = dict(n_voxels=4192, patch_size=16, dim=1024, depth=24, heads=16, decoder_dim=512, decoder_depth=8, decoder_heads=16)
SMALL = dict(n_voxels=1024, patch_size=32, dim=96, depth=2, heads=4, decoder_dim=48, decoder_depth=1, decoder_heads=4)
TINY = dict(n_voxels=256, patch_size=32, dim=32, depth=2, heads=2, decoder_dim=32, decoder_depth=1, decoder_heads=2)

def flop(s, bs, ratio=.75): # of one step: matrix products of two views, forward and twice that backward
    p = s['n_voxels']//s['patch_size']; seen = 1 + max(1, int(p*(1 - ratio) + 1e-9))
    def block(n, d): return 2*n*(4*d*d + 2*d*d) + 4*n*n*d           # qkv, proj, mlp ratio 1; scores and mixing
    one = s['depth']*block(seen, s['dim']) + s['decoder_depth']*block(p + 1, s['decoder_dim'])
    one += 2*p*s['patch_size']*s['dim'] + 2*seen*s['dim']*s['decoder_dim'] + 2*(p + 1)*s['decoder_dim']*s['patch_size']
    return 3*2*bs*one

def worker(kind, settings, bs, device, threads):
    import torch
    from visdec.contrast import DCMAE, info_nce
    from visdec.core import generator
    from visdec.mae import fresh, hidden_mse
    from visdec.patches import hide
    from visdec.train import compiled, param_groups, return_memory
    if threads: torch.set_num_threads(threads)
    gpu = device == 'cuda'
    model = fresh(DCMAE, settings, 0, 'bench').to(device).train()
    if kind == 'plain':
        for m in model.modules():
            if hasattr(m, 'fused_attn'): m.fused_attn = False
    if kind == 'lean':
        model.enable_gradient_checkpointing()
        if not gpu: return_memory()
    words = kind.split('+')
    if 'low' in words:
        whole = type(model).through
        type(model).through = lambda self, blocks, tokens: whole(self, blocks, tokens.bfloat16())
    if 'cudnn' in words:
        from torch.nn.attention import SDPBackend, sdpa_kernel
        first = [SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
        sdpa_kernel(first, set_priority=True).__enter__()
    if 'blocks' in words: compiled(None, 'blocks', torch.device(device), model)
    how = dict(foreach=False, fused=False) if kind == 'plain' else dict(fused=True)
    opt = torch.optim.AdamW(param_groups(model, .05), lr=1e-5, betas=(.9, .95), **how)
    x = torch.randn(bs, settings['n_voxels'], generator=generator(0, 'x')).to(device)
    c = model.config
    def plain(x, h1, h2):
        p1, p2 = model.predict(x, h1), model.predict(x, h2)
        q, t = p1.flatten(1), c.temperature
        return c.mse_weight*hidden_mse(p1, model.patches(x), h1) + c.contrast_weight*(c.self_weight*info_nce(q, x, t) + c.cross_weight*info_nce(q, p2.flatten(1), t))
    losses = torch.compile(model.losses) if kind == 'compiled' else model.losses
    def step(s):
        h1, h2 = hide(2*bs, model.n_patches, .75, generator(0, s)).to(device).chunk(2)
        with torch.autocast(device, torch.bfloat16, enabled=gpu):
            loss = plain(x, h1, h2) if kind == 'plain' else losses(x, h1, h2).total
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), .8)
        opt.step(); opt.zero_grad(set_to_none=True)
        return loss.detach()
    print('ready', sum(p.numel() for p in model.parameters()), flush=True)
    for s, line in enumerate(sys.stdin):
        n, early = int(line), 2 if gpu else 0            # a GPU has given its memory back: it takes it again, untimed
        for i in range(early): step(1000*s + 500 + i).item()
        start = time.perf_counter()
        for i in range(n): loss = step(1000*s + i)
        loss = loss.item()
        seconds = (time.perf_counter() - start)/n
        if gpu: torch.cuda.empty_cache()                # the other variants need it
        peak = torch.cuda.max_memory_allocated()/2**30 if gpu else next(int(l.split()[1]) for l in open('/proc/self/status') if l.startswith('VmHWM'))/2**20
        print(json.dumps(dict(seconds=seconds, peak_gb=peak, loss=loss)), flush=True)

class Variant:
    def __init__(self, kind, settings, bs, device='cpu', threads=0):
        self.name = f'{kind}, batch {bs}'
        self.p = subprocess.Popen([sys.executable, os.path.abspath(__file__), 'worker', json.dumps([kind, settings, bs, device, threads])], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.seconds, self.peak, self.loss, self.parameters = [], 0, None, 0
    def wait(self): # until its model is made: all start at once
        if not self.parameters:
            ready, self.parameters = self.p.stdout.readline().split(); assert ready == 'ready'
    def step(self, n=1, count=True):
        self.wait()
        self.p.stdin.write(f'{n}\n'); self.p.stdin.flush()
        got = json.loads(self.p.stdout.readline())
        if count: self.seconds.append(got['seconds'])
        self.peak, self.loss = got['peak_gb'], got['loss']
    def close(self): self.p.stdin.close(); self.p.wait()
    def median(self): return statistics.median(self.seconds)

def rate(device='cpu', threads=0, n=4096): # GFLOP/s of a large matrix product, best of five
    code = f"""
import torch, time
if {threads}: torch.set_num_threads({threads})
a = torch.randn({n}, {n}, device='{device}', dtype=torch.{'bfloat16' if device == 'cuda' else 'float32'}); wait = torch.cuda.synchronize if '{device}' == 'cuda' else (lambda: None)
a @ a; wait(); best = 9e9
for _ in range(5):
    t = time.perf_counter(); [a @ a for _ in range({20 if device == 'cuda' else 1})]; wait(); best = min(best, (time.perf_counter() - t)/{20 if device == 'cuda' else 1})
print(2*{n}**3/best/1e9)"""
    return float(subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout)

def take_turns(variants, rounds, n=1, loud=False):
    for v in variants: v.wait()
    for v in variants: v.step(n, count=False)
    for _ in range(rounds):
        for v in variants:
            v.step(n)
            if loud: print(f'{v.name:24s} {v.seconds[-1]:7.3f} s a step, peak {v.peak:.2f} GB', flush=True)
    for v in variants: v.close()

def about():
    import torch
    cpu = next((l.split(':')[1].strip() for l in open('/proc/cpuinfo') if l.startswith('model name')), platform.machine())
    return dict(cpu=cpu, threads=torch.get_num_threads(), torch=torch.__version__, commit=subprocess.run(['git', 'rev-parse', '--short', 'HEAD'], capture_output=True, text=True).stdout.strip(), date=time.strftime('%Y-%m-%d'))

def paper(a):
    chip = rate(threads=a.threads)
    vs = [Variant('plain', PAPER, 8, threads=a.threads), Variant('fast', PAPER, 8, threads=a.threads), Variant('lean', PAPER, 8, threads=a.threads), Variant('lean', PAPER, 24, threads=a.threads)]
    take_turns(vs, a.rounds, loud=True)
    rows = [dict(variant=v.name, seconds=round(v.median(), 2), all=[round(s, 2) for s in v.seconds], peak_gb=round(v.peak, 2), gflop=round(flop(PAPER, int(v.name.split()[-1]))/1e9), loss=v.loss,
                 share=round(flop(PAPER, int(v.name.split()[-1]))/1e9/v.median()/chip, 3)) for v in vs]
    p, f, l, big = rows
    return dict(about(), what='phase-1 step at paper shape, float32', parameters=int(vs[0].parameters), chip_gflops=round(chip), rows=rows,
        fast_speedup=round(p['seconds']/f['seconds'], 3), fast_less_memory=round(1 - f['peak_gb']/p['peak_gb'], 3), lean_less_memory=round(1 - l['peak_gb']/p['peak_gb'], 3),
        lean_time=round(l['seconds']/f['seconds'], 3), batch24_less_memory=round(1 - big['peak_gb']/p['peak_gb'], 3))

def curve(a):
    rows = []
    for name, s, batches, widths in (('tiny', TINY, (16, 64), (32, 64)), ('small', SMALL, (32, 64, 128), (96, 192))):
        for dim in widths:
            for bs in batches:
                pair = [Variant(k, dict(s, dim=dim), bs, threads=a.threads) for k in ('plain', 'fast')]
                take_turns(pair, a.rounds, 10)
                rows.append(dict(preset=name, dim=dim, batch=bs, plain_ms=round(1e3*pair[0].median(), 1), fast_ms=round(1e3*pair[1].median(), 1), speedup=round(pair[0].median()/pair[1].median(), 2)))
                print(rows[-1], flush=True)
    return dict(about(), what='phase-1 step, float32, median of rounds of 10 steps', rows=rows)

def gpu(a):
    import torch
    chip = rate('cuda')
    vs = [Variant(k, PAPER, a.bs, 'cuda') for k in a.kinds.split()]
    take_turns(vs, a.rounds, 5, loud=True)
    rows = [dict(variant=v.name, seconds=round(v.median(), 4), peak_gb=round(v.peak, 2), share=round(flop(PAPER, a.bs)/1e9/v.median()/chip, 3)) for v in vs]
    return dict(about(), gpu=torch.cuda.get_device_name(), chip_gflops=round(chip), rows=rows, speedup=round(vs[0].median()/vs[-1].median(), 2))

def denoiser(a):
    "A prior of the asked size with random weights, and latents for it."
    import torch
    from visdec.core import generator
    from visdec.mae import fresh
    from visdec.unet import Prior, unet_config
    side = dict(tiny=4, small=8, medium=16, paper=64)[a.preset]
    chan = 3 if a.preset == 'paper' else 4
    made = fresh(Prior.of, dict(unet=unet_config((chan, side, side), a.preset), n_labels=10), 0, 'bench')
    return made, torch.randn(256, chan, side, side, generator=generator(0, 'z'))

def forward_flop(prior, z):
    "Floating-point operations of one look, by torch's own count."
    import torch
    from torch.utils.flop_counter import FlopCounterMode
    with FlopCounterMode(display=False) as count, torch.no_grad(): prior(z, torch.zeros(len(z), dtype=torch.long), torch.zeros(len(z), dtype=torch.long))
    return count.get_total_flops()

def prior(a):
    import copy
    from functools import partial
    import torch
    from visdec.train import TrainConfig, train
    from visdec.unet import guess_losses, prior_batch
    if a.threads: torch.set_num_threads(a.threads)
    made, z = denoiser(a)
    chip, work, rows = rate(a.device, a.threads), 3*forward_flop(made, z[:a.bs]), []
    batch = partial(prior_batch, z=z, labels=torch.arange(256) % 10, null=10, drop=.1, prediction='v_prediction')
    for mode in ['', *(['replay'] if a.device.startswith('cuda') else []), *a.modes.split()]:
        times = []
        for _ in range(a.rounds):
            log = train(copy.deepcopy(made), batch, guess_losses, len(z), TrainConfig(steps=a.steps, bs=a.bs, log_every=a.steps//2, ema=.99, compile=mode.replace('replay', ''), save_every=0,
                                                                                     replay=mode == 'replay'), device=a.device, progress=False, replay=True).log
            times.append((log[-1]['seconds'] - log[1]['seconds'])/(log[-1]['step'] - log[1]['step']))     # the first half also compiles
        seconds = statistics.median(times)
        rows.append(dict(mode=mode or 'eager', ms=round(1e3*seconds, 2), share=round(work/1e9/seconds/chip, 3), loss=log[-1]['total']))
        print(rows[-1], flush=True)
    return dict(about(), what=f'a step of the prior, {a.preset}, batch {a.bs}, {a.device}', gflop=round(work/1e9, 1), chip_gflops=round(chip), rows=rows)

def sampling(a):
    import torch
    from visdec.decode import rows_at_once
    from visdec.sampler import make_scheduler, sample
    if a.threads: torch.set_num_threads(a.threads)
    made, z = denoiser(a)
    chip, rows = rate(a.device, a.threads), []
    unet = made.unet.to(a.device).eval()
    for n in (8, 32, 128, 512):
        if n > a.most: break
        look = made.labels.null(n)
        said = [o.to(a.device).detach() for o in look]
        noise, times = torch.randn(n, *z.shape[1:]), []
        for _ in range(a.rounds + 1):
            start = time.perf_counter()
            sample(unet, *said, noise, 10, scheduler=make_scheduler('ddim')).sum().item()
            times.append((time.perf_counter() - start)/10)
        seconds = statistics.median(times[1:])
        work = forward_flop(made.cpu(), torch.randn(n, *z.shape[1:]))
        unet = made.unet.to(a.device).eval()
        rows.append(dict(rows=n, ms_a_look=round(1e3*seconds, 2), ms_a_row=round(1e3*seconds/n, 3), share=round(work/1e9/seconds/chip, 3)))
        print(rows[-1], flush=True)
    return dict(about(), what=f'a look of the sampler, {a.preset}, {a.device}', chip_gflops=round(chip), rows_at_once=rows_at_once(unet, a.device), rows=rows)

def loader(a):
    import tempfile
    import numpy as np, torch
    from visdec.contrast import DCMAE
    from visdec.core import generator
    from visdec.mae import fresh
    from visdec.pretrain import rows as read, two_masks
    from visdec.study import order
    from visdec.train import ahead
    gpu, settings = a.device.startswith('cuda'), PAPER if a.preset == 'paper' else SMALL
    model = fresh(DCMAE, settings, 0, 'bench').to(a.device).train()
    with tempfile.NamedTemporaryFile() as f:
        x = np.memmap(f.name, np.float32, 'w+', shape=(4096, settings['n_voxels']))
        for i in range(0, 4096, 512): x[i:i+512] = np.random.default_rng(i).standard_normal((512, settings['n_voxels']), np.float32)
        def made(s):
            index = order(len(x), a.bs, s, 0, 'bench')
            one, two = two_masks(model, len(index), .75, generator(0, s))
            return dict(x=read(x, index), hidden1=one, hidden2=two)
        found = {}
        for on in (False, True):
            waited, start, batches = 0., time.perf_counter(), ahead(made, range(a.steps), on)
            for _ in range(a.steps):
                t = time.perf_counter(); batch = next(batches); waited += time.perf_counter() - t
                with torch.autocast(a.device.split(':')[0], torch.bfloat16, enabled=gpu): model.losses(**{k: v.to(a.device) for k, v in batch.items()}).total.backward()
                if gpu: torch.cuda.synchronize()
                model.zero_grad()
            found['ahead' if on else 'in turn'] = round(waited/(time.perf_counter() - start), 4)
    return dict(about(), what=f'share of phase 1 that waits for batches of {a.bs}, {a.preset}, {a.device}', **found)

if __name__ == '__main__':
    if sys.argv[1:2] == ['worker']: worker(*json.loads(sys.argv[2])); sys.exit()
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('what', choices=('paper', 'curve', 'gpu', 'prior', 'sampling', 'loader')); p.add_argument('--rounds', type=int, default=5); p.add_argument('--bs', type=int, default=0, help='0: 250 in phase 1, 64 elsewhere')
    p.add_argument('--threads', type=int, default=0, help='0: what torch takes'); p.add_argument('--json')
    p.add_argument('--preset', default='small', choices=('tiny', 'small', 'medium', 'paper')); p.add_argument('--device', default='cpu')
    p.add_argument('--steps', type=int, default=40); p.add_argument('--most', type=int, default=512); p.add_argument('--modes', default=''); p.add_argument('--kinds', default='plain fast blocks', help='of phase 1 on a GPU')
    a = p.parse_args()
    a.bs = a.bs or (250 if a.what == 'gpu' else 64)
    found = dict(paper=paper, curve=curve, gpu=gpu, prior=prior, sampling=sampling, loader=loader)[a.what](a)
    print(json.dumps(found, indent=1))
    if a.json: open(a.json, 'w').write(json.dumps(found, indent=1) + '\n')
