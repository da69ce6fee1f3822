"""Logs of training processes: progress, records, times and memory."""

import json
import math

import pytest

from wkd_det.experiments.processes import (
    device_memory,
    read_progress,
    read_scalars,
    seconds_per_step,
    training_records,
    validation_records,
)

ITERATION = (
    '2026/01/02 03:04:05 - mmengine - INFO - Iter(train) [ 50/500]  base_lr: 1.0e-03 lr: 1.0e-03  '
    'eta: 1 day, 0:03:04  time: 0.4  data_time: 0.1  loss: 1.2345  loss_cls: 0.5'
)
EPOCH = (
    '2026/01/02 03:04:05 - mmengine - INFO - Epoch(train)   [2][ 5/40]  lr: 1.0e-03  '
    'eta: 0:00:04  time: 0.4  loss: 0.5'
)


def test_progress_is_read():
    progress = read_progress(ITERATION)
    assert (progress.step, progress.total) == (50, 500)
    assert (progress.loss, progress.remaining) == ('1.2345', '1 day, 0:03:04')
    progress = read_progress(EPOCH, max_epochs=3)
    assert (progress.step, progress.total, progress.remaining) == (45, 120, '0:00:04')
    assert read_progress('Iter(val) [ 10/16]  eta: 0:00:04  time: 0.1') is None


def scalars(folder, *records):
    file = folder / 'vis_data/scalars.json'
    file.parent.mkdir(parents=True)
    file.write_text('\n'.join(map(json.dumps, records)))
    return file


def test_records_of_a_resumed_run(tmp_path):
    first = scalars(
        tmp_path / '20260101_000000',
        dict(loss=3.0, time=0.1, step=10),
        dict(loss=2.0, time=0.2, step=20),
    )
    with first.open('a') as file:
        file.write('\n{"loss": 1.0, "ti')  # killed while it wrote
    scalars(
        tmp_path / '20260101_000001',
        dict(loss=2.5, time=0.3, memory=900, step=20),
        {'coco/bbox_mAP': 0.25, 'coco/bbox_mAP_50': 0.5, 'time': 0.1, 'step': 20},
    )
    records = read_scalars(tmp_path)
    assert {step: record['loss'] for step, record in training_records(records).items()} == {
        10: 3.0,
        20: 2.5,
    }
    assert validation_records(records, 'coco/bbox_mAP') == {
        20: {'coco/bbox_mAP': 0.25, 'coco/bbox_mAP_50': 0.5}
    }
    assert validation_records(records, 'accuracy/top1') == {}
    assert seconds_per_step(records) == pytest.approx(0.2)
    assert device_memory(records) == 900.0
    assert math.isnan(seconds_per_step([]))
    assert device_memory(records[:2]) is None
