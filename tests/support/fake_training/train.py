"""Stands for tools/train.py: leaves what a training leaves, in a few milliseconds.

A run that is resumed goes on from its last checkpoint. The score falls with the distance of weight
and learning rate from their best values and has noise of its seed. A weight of 100 and more breaks
down, of 500 with another error after a loss that is nan; at 1000 the disk is full. FAKE_PAUSE makes
each step take so many seconds.
"""

import json
import math
import os
import random
import runpy
import sys
import time
from pathlib import Path


def main():
    """Train."""
    config = runpy.run_path(sys.argv[1])
    folder = Path(config['work_dir'])
    length = config['train_cfg']['max_iters']
    model, seed = config['model'], config.get('randomness', dict(seed=0))['seed']
    rate = config['optim_wrapper']['optimizer']['lr']

    pointer = folder / 'last_checkpoint'
    begin = int(pointer.read_text().split('_')[-1][:-4]) if pointer.is_file() else 0
    log = folder / f'2026010{begin % 10}/vis_data/scalars.json'
    log.parent.mkdir(parents=True, exist_ok=True)
    for step in range(begin + 1, length + 1):
        if model['weight'] >= 1000:
            sys.exit('OSError: no space left on device')
        if model['weight'] >= 500:
            print(f'Iter(train) [{step}/{length}]  eta: 0:00:01  loss: nan', flush=True)
            sys.exit('ValueError: cost matrix is infeasible')
        if model['weight'] >= 100:
            sys.exit('FloatingPointError: the loss is inf')
        print(f'Iter(train) [{step}/{length}]  eta: 0:00:01  loss: {1 / step:.4f}', flush=True)
        with log.open('a') as file:
            line = dict(loss=1 / step, loss_term=0.25 / step, time=0.01, step=step)
            file.write(json.dumps(line) + '\n')
        (folder / f'iter_{step}.pth').write_text('')
        (folder / f'iter_{step - 1}.pth').unlink(missing_ok=True)
        pointer.write_text(str(folder / f'iter_{step}.pth'))
        time.sleep(float(os.environ.get('FAKE_PAUSE', 0)))

    score = model['quality'] - math.log(model['weight'] / model['best']) ** 2 - math.log(rate) ** 2
    score += 0.01 * random.Random(seed).random() + 0.001 * length
    metrics = {
        'fake/score': score,
        'fake/loss': -score,
        'fake/calibration': dict(count=[1, 3], confidence=[0.25, 0.75], accuracy=[0, 2 / 3]),
        'fake/mistakes': dict(near=10 + seed, far=5),
        'fake/confusion': [[8, seed], [2, 9]],
        'fake/confusion_names': ['ant', 'bee'],
    }
    with (folder / 'validations.jsonl').open('a') as file:
        file.write(json.dumps(dict(iter=length, epoch=0, metrics=metrics)) + '\n')


if __name__ == '__main__':
    main()
