"""Image classification: networks, distilled classifiers, data and metrics."""

from wkd_det.classification.classifier import (
    Classifier,
    TopKAccuracy,
    last_layer,
    network_keys,
    network_of,
    network_weights,
)
from wkd_det.classification.data import ImagePreprocessor, collate_images
from wkd_det.classification.datasets import (
    CIFAR100Dataset,
    DigitsDataset,
    ImageFolderDataset,
    ImageNetDataset,
)
from wkd_det.classification.distilled import DistilledClassifier, LogitsTap
from wkd_det.classification.networks.mobilenets import MobileNetV1
from wkd_det.classification.networks.zoo import (
    CIFAR_NETWORKS,
    CifarModel,
    TimmModel,
    TorchvisionModel,
)
from wkd_det.distillation.module_tap import ModuleTap

__all__ = [
    'CIFAR100Dataset',
    'CIFAR_NETWORKS',
    'CifarModel',
    'Classifier',
    'DigitsDataset',
    'DistilledClassifier',
    'ImageFolderDataset',
    'ImageNetDataset',
    'ImagePreprocessor',
    'LogitsTap',
    'MobileNetV1',
    'ModuleTap',
    'TimmModel',
    'TopKAccuracy',
    'TorchvisionModel',
    'collate_images',
    'last_layer',
    'network_keys',
    'network_of',
    'network_weights',
]
