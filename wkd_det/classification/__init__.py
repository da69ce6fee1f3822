"""Image classification: networks, distilled classifiers, data and metrics."""

from wkd_det.classification.classifier import Classifier, network_keys, network_of, network_weights
from wkd_det.classification.datasets import (
    CIFAR100Dataset,
    DigitsDataset,
    ImageFolderDataset,
    ImageNetDataset,
    collate_images,
)
from wkd_det.classification.distilled_classifier import DistilledClassifier
from wkd_det.classification.image_preprocessor import ImagePreprocessor
from wkd_det.classification.last_layer import last_layer
from wkd_det.classification.logits_tap import LogitsTap
from wkd_det.classification.models import (
    CIFAR_NETWORKS,
    CifarModel,
    MobileNetV1,
    TimmModel,
    TorchvisionModel,
)
from wkd_det.classification.module_tap import ModuleTap
from wkd_det.classification.top_k_accuracy import TopKAccuracy

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
