"""Kept weights: half the size, the same network up to rounding."""

import pytest
import torch

from wkd_det.experiments.kept import keep_weights
from wkd_det.runtime.checkpoints import read_checkpoint


def test_matrices_are_rounded_and_vectors_stay(tmp_path):
    weights = {
        'a.weight': torch.tensor([[1 / 3, 2.0]]),
        'a.bias': torch.tensor([1 / 3]),
        'bn.running_var': torch.tensor([1e6, 1e-9]),
        'bn.num_batches_tracked': torch.tensor(7),
        'wide': torch.tensor([[1e6, 1.0]]),
    }
    meta = dict(dataset_meta=dict(CLASSES=('ant', 'bee')), iter=4, cfg='text', time='now')
    content = dict(meta=meta, state_dict=weights, optimizer=dict(state={}))
    torch.save(content, tmp_path / 'iter_4.pth')
    keep_weights(tmp_path / 'iter_4.pth', tmp_path / 'kept/teacher.pth')
    kept = read_checkpoint(tmp_path / 'kept/teacher.pth')
    assert set(kept) == {'meta', 'state_dict'}
    assert kept['meta'] == dict(dataset_meta=dict(CLASSES=('ant', 'bee')), iter=4)
    found = kept['state_dict']
    assert {name: value.dtype for name, value in found.items()} == {
        'a.weight': torch.float16,
        'a.bias': torch.float32,
        'bn.running_var': torch.float32,
        'bn.num_batches_tracked': torch.int64,
        'wide': torch.float32,
    }
    for name, value in weights.items():
        tolerance = 2**-11 if name == 'a.weight' else 0  # half a unit in the last place
        torch.testing.assert_close(found[name].to(value.dtype), value, rtol=tolerance, atol=0)


def test_only_a_checkpoint_can_be_kept(tmp_path):
    with pytest.raises(FileNotFoundError, match='^checkpoint not found: '):
        keep_weights(tmp_path / 'nowhere.pth', tmp_path / 'kept.pth')
