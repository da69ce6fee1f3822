"""Networks for image classification; calling one gives the logits."""

from wkd_det.classification.models.cifar_resnet import CifarResNet
from wkd_det.classification.models.cifar_zoo import CIFAR_NETWORKS, build_cifar_network
from wkd_det.classification.models.four_stage_resnet import FourStageResNet
from wkd_det.classification.models.mobilenet_v1 import MobileNetV1
from wkd_det.classification.models.mobilenet_v2 import MobileNetV2
from wkd_det.classification.models.shufflenet_v1 import ShuffleNetV1
from wkd_det.classification.models.shufflenet_v2 import ShuffleNetV2
from wkd_det.classification.models.vgg import VGG
from wkd_det.classification.models.wide_resnet import WideResNet

__all__ = [
    'CIFAR_NETWORKS',
    'CifarResNet',
    'FourStageResNet',
    'MobileNetV1',
    'MobileNetV2',
    'ShuffleNetV1',
    'ShuffleNetV2',
    'VGG',
    'WideResNet',
    'build_cifar_network',
]
