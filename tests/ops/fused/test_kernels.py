"""Fused kernels against float64, through the losses that take them, in Triton's interpreter.

The interpreter shows that the arithmetic is right, not that a GPU compiles the kernels.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

import pytest

from fused_cases import LOGITS, MAPS

ROOT = Path(__file__).parents[3]
PROGRAM = ROOT / 'tests' / 'support' / 'fused_cases.py'
# Float32 rounds by 6e-8; half and bfloat16 gradients are rounded to 11 and 8 bits at the end.
GRADIENTS = {'float32': 1e-5, 'float16': 1e-3, 'bfloat16': 8e-3}

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec('triton') is None or int(version('triton').split('.')[0]) < 3,
    reason='triton is not installed, or has no such interpreter (before 3.0)',
)


@lru_cache
def results():
    """All cases, from one process."""
    environment = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1')
    run = subprocess.run(
        [sys.executable, PROGRAM], capture_output=True, text=True, env=environment, check=False
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@pytest.mark.parametrize('name', LOGITS)
def test_wkd_l(name):
    result = results()['logits'][name]
    assert result['calls'] == 2  # with a gradient and without, and never for float64
    assert result['value'] < 2e-6
    assert result['gradient'] < GRADIENTS[LOGITS[name][2]]


@pytest.mark.parametrize('name', [name for name in MAPS if name != 'far from 0'])
def test_moments(name):
    result = results()['maps'][name]
    assert result['calls'] == 4  # student and teacher, with a gradient and without
    assert result['value'] < 2e-6
    assert result['gradient'] < GRADIENTS[MAPS[name][2]]


def test_moments_far_from_0():
    """Means of about 1000 are rounded to 6e-5, and differences of means are about 1."""
    result = results()['maps']['far from 0']
    assert max(result['value'], result['gradient']) < 2e-4
