"""Data sets for classification."""

from wkd_det.classification.datasets.cifar100_dataset import CIFAR100Dataset
from wkd_det.classification.datasets.collate_images import collate_images
from wkd_det.classification.datasets.digits_dataset import DigitsDataset
from wkd_det.classification.datasets.image_dataset import ImageDataset
from wkd_det.classification.datasets.image_folder_dataset import ImageFolderDataset
from wkd_det.classification.datasets.imagenet_dataset import ImageNetDataset
from wkd_det.classification.datasets.transforms import build_transform

__all__ = [
    'CIFAR100Dataset',
    'DigitsDataset',
    'ImageDataset',
    'ImageFolderDataset',
    'ImageNetDataset',
    'build_transform',
    'collate_images',
]
