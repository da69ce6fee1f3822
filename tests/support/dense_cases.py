"""Small one-stage pairs whose dense heads are compared."""

from __future__ import annotations

import copy
from unittest import mock

import torch
from mmdet.registry import MODELS
from mmengine.registry import init_default_scope

from wkd_det.distillation.term import Term
from wkd_det.testing import distilled_from, random_batch, save_detector, tiny_detector

SIZES = ((96, 128), (64, 96))
"""Of the images of a batch: the second has padding."""


def teacher_section(folder, kind, **options):
    """A wider detector with random weights on disk, as a ``teacher`` section."""
    init_default_scope('mmdet')
    config = tiny_detector(kind, base_channels=10, fpn_channels=24, **options)
    path = folder / f'{kind}{len(list(folder.iterdir()))}.pth'
    save_detector(config, path)
    return dict(config=config, checkpoint=str(path))


def build(student, section, terms, seed=0):
    """A distilled student in training mode."""
    config = tiny_detector(student) if isinstance(student, str) else student
    return built(distilled_from(config, section, terms), seed)


def built(config, seed=0):
    """The model of a config in training mode."""
    torch.manual_seed(seed)
    model = MODELS.build(copy.deepcopy(config))
    model.init_weights()
    return model.train()


def data_of(model, sizes=SIZES, **options):
    """A batch as the model's preprocessor makes it."""
    return model.data_preprocessor(random_batch(list(sizes), **options), True)


def losses_of(model, sizes=SIZES, **options):
    data = data_of(model, sizes, **options)
    return model.loss(data['inputs'], data['data_samples'])


def pairs_of(model, sizes=SIZES, **options):
    """The pair of each term in a step by its name, the two views, and the losses of the step."""
    found, original = {}, Term.read

    def read(term, student, teacher):
        (found[term.name],) = pairs = original(term, student, teacher)
        found['views'] = student, teacher
        return pairs

    with mock.patch.object(Term, 'read', read):
        losses = losses_of(model, sizes, **options)
    return found, found.pop('views'), losses


def accumulated(model, parameter):
    """Gradients of ``loss_x`` of two images at once, and of one after the other."""
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
    batch = random_batch([(96, 128)] * 2)
    gradients = []
    for parts in ([slice(0, 2)], [slice(0, 1), slice(1, 2)]):
        model.zero_grad()
        for part in parts:
            given = {key: values[part] for key, values in copy.deepcopy(batch).items()}
            data = model.data_preprocessor(given, True)
            (model.loss(data['inputs'], data['data_samples'])['loss_x'] / len(parts)).backward()
        gradients.append(model.get_parameter(parameter).grad.clone())
    assert gradients[0].any()
    return gradients
