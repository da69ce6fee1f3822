"""torch.compile of a training step, as mmengine's option ``compile`` asks for it."""

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.optim import OptimWrapper

from wkd_det.testing import (
    class_logits_term,
    classifier_config,
    distilled_config,
    image_batch,
    module_term,
    random_batch,
    save_classifier,
    wkd_f_neck_term,
    wkd_f_term,
    wkd_l_term,
)


def losses(config, batches, compiled):
    torch.manual_seed(0)
    model = MODELS.build(config)
    model.init_weights()
    optim = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.01))
    train_step = model.train().train_step
    if compiled:  # as Runner._maybe_compile does; this backend only traces
        train_step = torch.compile(train_step, backend='eager')
    torch.manual_seed(1)
    logs = [train_step(batch(), optim) for batch in batches]
    return [{name: value.item() for name, value in log.items()} for log in logs]


def check_equal(config, batches, terms):
    torch._dynamo.reset()
    eager, compiled = (losses(config, batches, choice) for choice in (False, True))
    for one, other in zip(eager, compiled):
        assert one.keys() == other.keys() >= terms.keys()
        for name, value in one.items():
            assert other[name] == pytest.approx(value, rel=1e-4, abs=1e-6), name


@pytest.mark.skipif(torch.__version__ < (2, 2), reason='torch 2.1 runs no hooks in compiled code')
@pytest.mark.parametrize('inference', [{}, dict(dtype='bfloat16', fuse=True)], ids=str)
def test_a_distilled_classifier(tmp_path, inference):
    section = save_classifier(classifier_config('resnet14'), tmp_path / 'teacher.pth')
    section['inference'] = inference
    terms = dict(loss_wkd_l=class_logits_term(), loss_wkd_f=module_term())
    config = classifier_config(teacher=section, distill=terms, image_size=32)
    batches = [lambda seed=seed: image_batch(seed=seed) for seed in range(3)]
    check_equal(dict(config, type='DistilledClassifier'), batches, terms)


@pytest.mark.skipif(torch.__version__ < (2, 2), reason='torch 2.1 runs no hooks in compiled code')
def test_weights_by_gradients(tmp_path):
    section = save_classifier(classifier_config('resnet14'), tmp_path / 'teacher.pth')
    share = dict(type='GradientShare', share=0.2, every=2)
    terms = dict(loss_wkd_l=class_logits_term(loss_weight=share), loss_wkd_f=module_term())
    config = classifier_config(teacher=section, distill=terms, image_size=32)
    batches = [lambda seed=seed: image_batch(seed=seed) for seed in range(3)]
    check_equal(dict(config, type='DistilledClassifier'), batches, terms)


@pytest.mark.slow
def test_a_distilled_detector(teacher_section):
    terms = dict(
        loss_wkd_l=wkd_l_term(),
        loss_wkd_f=wkd_f_term(),
        loss_neck=wkd_f_neck_term(),
        loss_module=dict(
            tap='backbone.layer3', connector=dict(type='ConvConnector'),
            loss=dict(type='WKDFeatureLoss'),
        ),
    )  # fmt: skip
    sizes = ([(64, 96), (64, 64)], [(96, 64), (60, 64)])
    batches = [lambda size=size: random_batch(size) for size in sizes]
    check_equal(distilled_config(teacher_section, terms), batches, terms)
