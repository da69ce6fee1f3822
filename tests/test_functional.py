"""The mathematics needs torch alone: in a process without MMDetection, and brings little."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from commands import HANGS
from wkd_det import functional

ROOT = Path(__file__).parents[1]
WITHOUT_MM = """
import sys

class Without:
    '''A finder that does not know MMDetection and its libraries.'''

    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in ('mmcv', 'mmdet', 'mmengine'):
            return None
        return self.finder.find_spec(name, path, target)

sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
"""


def run(code):
    """What a process without MMDetection prints, from JSON."""
    done = subprocess.run(
        [sys.executable, '-c', WITHOUT_MM + code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=HANGS,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_process_has_no_mmdetection():
    code = """
import json
from importlib.util import find_spec
names = ['mmcv', 'mmdet', 'mmdet.models', 'mmengine']
found = [name for name in names if name.partition('.')[2] == '' and find_spec(name)]
for name in names:
    try:
        __import__(name)
    except ModuleNotFoundError:
        continue
    found.append(name)
print(json.dumps(found))
"""
    assert run(code) == []


def test_losses_are_computed_without_mmdetection():
    code = """
import json
import torch
from wkd_det import losses, registry
from wkd_det.functional import feature_distribution_loss, sinkhorn_cost, wkd_logit_loss

torch.manual_seed(0)
student, teacher = torch.randn(2, 4, 5)
target, distance = torch.tensor([0, 4, 2, 2]), 1 - torch.eye(5)
student.requires_grad_()
maps = torch.randn(2, 2, 3, 6, 7)
pyramid = [[maps[0]], [maps[1]]]
boxes = torch.rand(2, 3, 4).cumsum(2)
results = dict(
    wkd_l=wkd_logit_loss(student, teacher, distance, target, temperature=1.0),
    wkd_f=feature_distribution_loss(*maps, grid=2),
    module_l=losses.WKDLogitLoss(cost=distance)(student, teacher, target),
    module_f=losses.WKDFeatureLoss(grid=2)(*maps),
    source=registry.build(
        dict(type='WKDLogitLoss', cost=dict(type='ConstantCost'))
    ).distance_source is not None,
    box=losses.BoxLoss()(*boxes, *boxes),
    icd=losses.ICDLoss(num_classes=4, student_channels=3, teacher_channels=3, width=8, num_heads=2)(
        *pyramid, [boxes[0] * 20] * 2, [torch.arange(3)] * 2, [(48, 56)] * 2
    ),
)
results['module_l'].backward()
results['slope'] = student.grad.abs().sum()
results = {name: float(value) for name, value in results.items()}
results['mm'] = [name for name in ('mmcv', 'mmdet', 'mmengine') if name in sys.modules]
print(json.dumps(results))
"""
    results = run(code)
    assert results.pop('mm') == []
    assert all(value > 0 for value in results.values()), results
    assert results['module_f'] == results['wkd_f']
    assert results['module_l'] != results['wkd_l']  # the module sharpens the distance


@pytest.mark.parametrize('name', ['wkd_det.functional', 'wkd_det.losses.wkd_logit'])
def test_its_import_brings_nothing_but_itself(name):
    """Imports take time by what they bring; seconds would depend on the machine."""
    code = f"""
import json
import torch, torch.nn.functional
before = set(sys.modules)
import {name}
new = {{module.partition('.')[0] for module in set(sys.modules) - before}}
print(json.dumps(sorted(new - set(sys.stdlib_module_names))))
"""
    # Where the package is installed, Python has imported the second when it started.
    assert {*run(code), 'wkd_det_standin'} == {'wkd_det', 'wkd_det_standin'}


def test_every_public_name_is_there_and_says_what_it_is():
    assert functional.__all__ == sorted(functional.__all__)
    for name in functional.__all__:
        thing = getattr(functional, name)
        assert not callable(thing) or thing.__doc__
