"""Logs of trainings: losses, times, memory and validations by step."""

import json
import math

import pytest

from wkd_det.experiments.logs import (
    device_memory,
    read_scalars,
    read_validations,
    seconds_per_step,
    training_records,
)


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
    assert seconds_per_step(records) == pytest.approx(0.2)
    assert device_memory(records) == 900.0
    assert math.isnan(seconds_per_step([]))
    assert device_memory(records[:2]) is None


def test_of_a_step_that_is_validated_twice_the_last_one_counts(tmp_path):
    found = [
        dict(iter=10, epoch=1, metrics=dict(score=1)),
        dict(iter=20, epoch=2, metrics=dict(score=2)),
        dict(iter=20, epoch=2, metrics=dict(score=3, bins=[1, 2])),
    ]
    text = '\n'.join(map(json.dumps, found))
    (tmp_path / 'validations.jsonl').write_text(f'{text}\n{{"iter": 30, "ep')
    assert read_validations(tmp_path, 'iter') == {
        10: dict(score=1),
        20: dict(score=3, bins=[1, 2]),
    }
    assert list(read_validations(tmp_path, 'epoch')) == [1, 2]
    assert read_validations(tmp_path / 'nowhere', 'iter') == {}
