"""Weights of torchvision and timm: which file, without fetching one."""

import functools
from pathlib import Path

import pytest
import timm
import torch
import torchvision

from wkd_det.runtime import checkpoints as reading_module
from wkd_det.runtime.checkpoints import read_checkpoint


@pytest.mark.parametrize(
    ('source', 'weights'),
    [
        ('resnet18', torchvision.models.ResNet18_Weights.DEFAULT),
        ('ResNet34_Weights.IMAGENET1K_V1', torchvision.models.ResNet34_Weights.IMAGENET1K_V1),
        ('ResNet50_Weights.IMAGENET1K_V1', torchvision.models.ResNet50_Weights.IMAGENET1K_V1),
    ],
)
def test_torchvision(source, weights, tmp_path, monkeypatch):
    asked = []

    def download(address):
        asked.append(address)
        torch.save(dict(bias=torch.ones(2)), tmp_path / 'file.pth')
        return tmp_path / 'file.pth'

    monkeypatch.setattr(reading_module, '_download', download)
    assert torch.equal(read_checkpoint(f'torchvision://{source}')['bias'], torch.ones(2))
    assert asked == [weights.url]


def test_timm(monkeypatch):
    real, asked = timm.create_model, []

    @functools.wraps(real)
    def create(name, pretrained):
        asked.append((name, pretrained))
        return real(name, pretrained=False)

    monkeypatch.setattr(timm, 'create_model', create)
    state = read_checkpoint('timm://resnet18.a1_in1k')
    assert asked == [('resnet18.a1_in1k', True)]
    assert list(state) == list(real('resnet18').state_dict())


@pytest.mark.parametrize(
    'source', ['torchvision://resnet19', 'torchvision://ResNet18_Weights.V9', 'timm://resnet19']
)
def test_unknown_names(source):
    with pytest.raises(ValueError, match='has no weights'):
        read_checkpoint(source)


def test_a_path_stays_a_path(tmp_path):
    path = Path(tmp_path) / 'weights.pth'
    torch.save(dict(bias=torch.zeros(1)), path)
    assert list(read_checkpoint(path)) == ['bias']
