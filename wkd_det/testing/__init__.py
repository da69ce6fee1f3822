"""Small detectors and classifiers, their distillation sections and batches, for tests."""

from wkd_det.testing.classifiers import (
    class_logits_term,
    classifier_config,
    image_batch,
    module_term,
    save_classifier,
)
from wkd_det.testing.detectors import (
    distilled_config,
    distilled_from,
    random_batch,
    save_detector,
    tiny_c4,
    tiny_detector,
    tiny_faster_rcnn,
    wkd_f_neck_term,
    wkd_f_term,
    wkd_l_term,
)

__all__ = [
    'class_logits_term',
    'classifier_config',
    'image_batch',
    'module_term',
    'save_classifier',
    'distilled_config',
    'distilled_from',
    'random_batch',
    'save_detector',
    'tiny_c4',
    'tiny_detector',
    'tiny_faster_rcnn',
    'wkd_f_neck_term',
    'wkd_f_term',
    'wkd_l_term',
]
