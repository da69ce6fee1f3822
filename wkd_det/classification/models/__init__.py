"""Networks for image classification; calling one gives the logits."""

from wkd_det.classification.models.cifar_model import CIFAR_NETWORKS, CifarModel
from wkd_det.classification.models.cifar_resnet import CifarResNet
from wkd_det.classification.models.four_stage_resnet import FourStageResNet
from wkd_det.classification.models.mobilenet_v1 import MobileNetV1
from wkd_det.classification.models.mobilenet_v2 import MobileNetV2
from wkd_det.classification.models.shufflenet_v1 import ShuffleNetV1
from wkd_det.classification.models.shufflenet_v2 import ShuffleNetV2
from wkd_det.classification.models.timm_model import TimmModel
from wkd_det.classification.models.torchvision_model import TorchvisionModel
from wkd_det.classification.models.vgg import VGG
from wkd_det.classification.models.wide_resnet import WideResNet

__all__ = [
    'CIFAR_NETWORKS',
    'CifarModel',
    'CifarResNet',
    'FourStageResNet',
    'MobileNetV1',
    'MobileNetV2',
    'ShuffleNetV1',
    'ShuffleNetV2',
    'TimmModel',
    'TorchvisionModel',
    'VGG',
    'WideResNet',
]
