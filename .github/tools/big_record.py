"""Write a prepared folder as large as a person of NSD: 27,000 trials x 10,000 voxels, 73,000 pictures on disk.

    python .github/tools/big_record.py /tmp/big                                    the folder (about 1.5 GB)
    /usr/bin/time -v visdec demo --data recording --path /tmp/big --preset small --out /tmp/bigrun

Responses are planted: each voxel weighs the pixels of a blurred picture, with noise. 9,000 pictures are shown three
times, 1,000 of them are the test; the other 64,000 lie beside them, as in NSD. What to look at: `Maximum resident set
size` (promised: at most 4 GB), the second at which the first bar stands (promised: within two minutes), and that
something is said from the first second. --trials, --voxels and --pictures make it smaller.

Measured (AMD EPYC, one thread, beside other work): `small` ends after 1 h 58 min with its whole table, 5,877 s of it in its
stages: readouts of 17 min each for the method and for its control, 20 and 17 min of decoding, ridge of pixels and judges 14 min. The
first bar of phase 1 stands after 94 s. Peak 3,686 MiB (3.87 GB of 10^9 bytes; the run prints 3.6, in GiB), reached by the
control's readout; some 600 MiB of it are the responses' file, which is only mapped."""
import argparse, json
from pathlib import Path

import numpy as np
from PIL import Image

import visdec.recording as R
from visdec.core import rng

SIDE = 32

class Drawn:
    "Blurred coloured blots by number; none is kept."
    def __init__(self, n): self.n = n
    def __len__(self): return self.n
    def __iter__(self): return (f'p{i:05d}' for i in range(self.n))
    def coarse(self, name): return rng(0, 'big', name).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    def __getitem__(self, name): return np.asarray(Image.fromarray(self.coarse(name)).resize((SIDE, SIDE)))

def save_all(folder, rec):
    "Every picture of the collection, not only those that were shown."
    folder.mkdir()
    ids = list(rec.stimuli)
    for i, k in enumerate(ids):
        Image.fromarray(rec.stimuli[k]).save(folder/f'{i:06d}.png', compress_level=1)
    (folder/'ids.json').write_text(json.dumps(ids), encoding='utf-8')

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('out')
    p.add_argument('--trials', type=int, default=27000)
    p.add_argument('--voxels', type=int, default=10000)
    p.add_argument('--pictures', type=int, default=73000)
    a = p.parse_args()
    stimuli, g, n = Drawn(a.pictures), rng(0, 'big record'), a.trials//3
    weight = g.standard_normal((108, a.voxels)).astype(np.float32)/10
    names = [f'p{i:05d}' for i in range(n)]
    order = np.concatenate([g.permutation(n) for _ in range(3)])
    light = np.stack([stimuli.coarse(k).reshape(-1)/127.5 - 1 for k in names]).astype(np.float32)
    x = np.lib.format.open_memmap(Path(a.out).with_suffix('.x.npy'), 'w+', np.float32, (3*n, a.voxels))
    for i in range(0, 3*n, 500):
        own = order[i:i + 500]
        x[i:i + 500] = light[own]@weight + g.standard_normal((len(own), a.voxels), dtype=np.float32)
    run = np.arange(3*n)//63
    rec = R.Recording.from_arrays(x, image_id=np.array(names)[order], split=np.where(order < n//9, 'test', 'train'),
                                  subject='sub-01', session=np.char.mod('ses-%02d', run//12), run=run.astype(str),
                                  roi=dict(V1=np.arange(a.voxels) < a.voxels//3), stimuli=stimuli, source='planted',
                                  norm='raw', norm_unit='run')
    R._save_pictures = save_all
    rec.save(a.out)
    Path(a.out).with_suffix('.x.npy').unlink()
    print(f'{a.out}: {len(rec.x)} trials, {a.voxels} voxels, {len(stimuli)} pictures')

if __name__ == '__main__': main()
