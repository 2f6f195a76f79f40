"""Measure one training step of phase 1 (chapter 25) against the plain formulation, side by side.

    python .github/tools/bench_phase1.py paper                    4,192 voxels, 164.8 M parameters, batch 8 and 24: time, memory (5 min)
    python .github/tools/bench_phase1.py curve                    time over batch and width at the shapes of tiny and small
    python .github/tools/bench_phase1.py gpu --bs 250             bf16 on one GPU
    python .github/tools/bench_phase1.py paper --rounds 3 --json out.json

plain   two separate passes, attention by an explicit softmax, AdamW parameter by parameter
fast    both views in one pass, fused attention, fused AdamW: what `pretrain` does
lean    fast, with gradient checkpointing (TrainConfig.checkpointing)

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
    from visdec.train import param_groups, return_memory
    if threads: torch.set_num_threads(threads)
    gpu = device == 'cuda'
    model = fresh(DCMAE, settings, 0, 'bench').to(device).train()
    if kind == 'plain':
        for m in model.modules():
            if hasattr(m, 'fused_attn'): m.fused_attn = False
    if kind == 'lean':
        model.enable_gradient_checkpointing()
        if not gpu: return_memory()
    how = dict(foreach=False, fused=False) if kind == 'plain' else dict(fused=True)
    opt = torch.optim.AdamW(param_groups(model, .05), lr=1e-5, betas=(.9, .95), **how)
    x = torch.randn(bs, settings['n_voxels'], generator=generator(0, 'x')).to(device)
    c = model.config
    def plain(x, h1, h2):
        p1, p2 = model.predict(x, h1), model.predict(x, h2)
        q, t = p1.flatten(1), c.temperature
        return c.mse_weight*hidden_mse(p1, model.patches(x), h1) + c.contrast_weight*(c.self_weight*info_nce(q, x, t) + c.cross_weight*info_nce(q, p2.flatten(1), t))
    def step(s):
        h1, h2 = hide(2*bs, model.n_patches, .75, generator(0, s)).to(device).chunk(2)
        with torch.autocast(device, torch.bfloat16, enabled=gpu):
            loss = plain(x, h1, h2) if kind == 'plain' else model.losses(x, h1, h2).total
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), .8)
        opt.step(); opt.zero_grad(set_to_none=True)
        return loss.item()
    print('ready', sum(p.numel() for p in model.parameters()), flush=True)
    for s, line in enumerate(sys.stdin):
        n = int(line)
        start = time.perf_counter()
        for i in range(n): loss = step(1000*s + i)
        seconds = (time.perf_counter() - start)/n
        peak = torch.cuda.max_memory_allocated()/2**30 if gpu else next(int(l.split()[1]) for l in open('/proc/self/status') if l.startswith('VmHWM'))/2**20
        print(json.dumps(dict(seconds=seconds, peak_gb=peak, loss=loss)), flush=True)

class Variant:
    def __init__(self, kind, settings, bs, device='cpu', threads=0):
        self.name = f'{kind}, batch {bs}'
        self.p = subprocess.Popen([sys.executable, os.path.abspath(__file__), 'worker', json.dumps([kind, settings, bs, device, threads])], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        ready, self.parameters = self.p.stdout.readline().split(); assert ready == 'ready'
        self.seconds, self.peak, self.loss = [], 0, None
    def step(self, n=1, count=True):
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
    for v in variants: v.step(n, count=False)
    for _ in range(rounds):
        for v in variants:
            v.step(n)
            if loud: print(f'{v.name:16s} {v.seconds[-1]:7.2f} s a step, peak {v.peak:.2f} GB', flush=True)
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
    vs = [Variant(k, PAPER, a.bs, 'cuda') for k in ('plain', 'fast')]
    take_turns(vs, a.rounds, 5)
    rows = [dict(variant=v.name, seconds=round(v.median(), 4), peak_gb=round(v.peak, 2), share=round(flop(PAPER, a.bs)/1e9/v.median()/chip, 3)) for v in vs]
    return dict(about(), gpu=torch.cuda.get_device_name(), chip_gflops=round(chip), rows=rows, speedup=round(vs[0].median()/vs[1].median(), 2))

if __name__ == '__main__':
    if sys.argv[1:2] == ['worker']: worker(*json.loads(sys.argv[2])); sys.exit()
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('what', choices=('paper', 'curve', 'gpu')); p.add_argument('--rounds', type=int, default=5); p.add_argument('--bs', type=int, default=250)
    p.add_argument('--threads', type=int, default=0, help='0: what torch takes'); p.add_argument('--json')
    a = p.parse_args()
    found = dict(paper=paper, curve=curve, gpu=gpu)[a.what](a)
    print(json.dumps(found, indent=1))
    if a.json: open(a.json, 'w').write(json.dumps(found, indent=1) + '\n')
