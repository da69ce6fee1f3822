"""Networks for image classification; calling one gives the logits."""

from wkd_det.classification.networks.mobilenets import MobileNetV1, MobileNetV2
from wkd_det.classification.networks.pooled import PooledBackbone
from wkd_det.classification.networks.resnets import CifarResNet, FourStageResNet, WideResNet
from wkd_det.classification.networks.shufflenets import ShuffleNetV1, ShuffleNetV2
from wkd_det.classification.networks.vgg import VGG
from wkd_det.classification.networks.zoo import (
    CIFAR_NETWORKS,
    CifarModel,
    TimmModel,
    TorchvisionModel,
)

__all__ = [
    'CIFAR_NETWORKS',
    'CifarModel',
    'CifarResNet',
    'FourStageResNet',
    'MobileNetV1',
    'MobileNetV2',
    'PooledBackbone',
    'ShuffleNetV1',
    'ShuffleNetV2',
    'TimmModel',
    'TorchvisionModel',
    'VGG',
    'WideResNet',
]
