"""Class logits of dense heads of every kind: order of classes, priors, costs, what is refused."""

from __future__ import annotations

import copy
from pathlib import Path

import mmdet
import pytest
import torch
from mmdet.models.dense_heads import GFLHead
from mmdet.registry import MODELS
from mmengine.logging import MessageHub
from mmengine.optim import OptimWrapper
from mmengine.registry import init_default_scope
from torch.testing import assert_close

from dense_cases import SIZES, build, built, losses_of, pairs_of, teacher_section
from wkd_det.detection.dense import dense_output
from wkd_det.detection.detectors import distilled
from wkd_det.runtime.config import read_config
from wkd_det.testing import (
    distilled_from,
    random_batch,
    save_detector,
    tiny_detector,
    wkd_f_neck_term,
)

WKD = dict(type='WKDSigmoidLoss', cost=dict(type='ClassifierCost'))
KD, FOCAL = dict(type='SigmoidKDLoss'), dict(type='QualityFocalKDLoss')
TERMS = dict(
    loss_all=dict(tap='dense_logits', loss=FOCAL),
    loss_positives=dict(tap='dense_logits', places='positives', weigh_by='teacher', loss=WKD),
    loss_top=dict(tap='dense_logits', places='top', top=9, average='places', loss=KD),
)
KINDS = {
    'RetinaNet': 'RetinaNet',
    'FCOS': 'FCOS',
    'ATSS': 'ATSS',
    'GFL': 'GFL',
    'YOLOX': 'yolox/yolox_tiny_8xb8-300e_coco.py',
    'RTMDet': 'rtmdet/rtmdet_tiny_8xb32-300e_coco.py',
    'VFNet': 'vfnet/vfnet_r50_fpn_1x_coco.py',
    'TOOD': 'tood/tood_r50_fpn_1x_coco.py',
}
OTHERS = {
    'PAA': 'paa/paa_r50_fpn_1x_coco.py',
    'FSAF': 'fsaf/fsaf_r50_fpn_1x_coco.py',
    'FreeAnchor': 'free_anchor/freeanchor_r50_fpn_1x_coco.py',
    'SSD': 'ssd/ssd300_coco.py',
    'DETR': 'detr/detr_r50_8xb2-150e_coco.py',
    'CenterNet': 'centernet/centernet_r18_8xb16-crop512-140e_coco.py',
}


def config_of(name):
    """A small detector of a kind; those with another backbone than a ResNet keep it."""
    path = {**KINDS, **OTHERS}[name]
    if name not in ('YOLOX', 'RTMDet', 'SSD', 'DETR', 'CenterNet'):
        return tiny_detector(path)
    model = read_config(Path(mmdet.__file__).parent / '.mim/configs' / path).model
    if name in ('YOLOX', 'RTMDet'):
        model.backbone.update(deepen_factor=0.17, widen_factor=0.125)
        model.neck.update(in_channels=[32, 64, 128], out_channels=16, num_csp_blocks=1)
        model.bbox_head.update(in_channels=16, feat_channels=16, num_classes=4)
        model.data_preprocessor.pop('batch_augments', None)
    model.backbone.pop('init_cfg', None)
    return model


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('teachers')


def registered(config):
    """The config, whose distilled class is registered."""
    distilled(MODELS.get(config.type))
    return config


def section_of(folder, name):
    config, path = config_of(name), folder / f'{name}.pth'
    if not path.exists():
        save_detector(config, path)
    return dict(config=config, checkpoint=str(path))


@pytest.mark.parametrize('name', KINDS)
def test_every_kind(folder, name):
    """Its scores and its own positives, row by row; a step of training."""
    init_default_scope('mmdet')
    terms = copy.deepcopy(TERMS)
    model = build(registered(config_of(name)), section_of(folder, name), terms)
    MessageHub.get_current_instance().update_info('epoch', 4)  # as runners do; TOOD asks
    pairs, (student, teacher), losses = pairs_of(model)
    own = student._outputs.latest('bbox_head')[0]
    head = model.bbox_head
    classes = head.cls_out_channels
    scores = [one.sigmoid() if name != 'TOOD' else one for one in own]
    flat = torch.cat([one.unflatten(1, (-1, classes)).flatten(3) for one in scores], dim=3)
    if max(head.prior_generator.num_base_priors) == 1:
        rows = flat[:, 0].transpose(1, 2).flatten(0, 1)
        inside = pairs['loss_all']['weight'] > 0
        assert_close(pairs['loss_all']['student'][inside].sigmoid(), rows[inside])
    assert 0 < len(pairs['loss_positives']['student']) == pairs['loss_all']['avg_factor']
    assert pairs['loss_top']['student'].shape == (18, classes)
    best = teacher.dense().logits[0].shape
    assert best[1] == head.prior_generator.num_base_priors[0]
    for term in terms:
        assert losses[term].isfinite(), term
        assert losses[term] > 0, term
    sum(losses[term] for term in terms).backward()
    grads = [one.grad for one in model.bbox_head.parameters() if one.grad is not None]
    assert any(grad.any() for grad in grads)
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=1e-3))
    log = model.train_step(random_batch(list(SIZES)), wrapper)
    assert all(log[term].isfinite() for term in terms)


def test_priors_are_rows_of_their_own(folder):
    """A RetinaNet has nine at a place; rows are those of the head's own loss."""
    section = teacher_section(folder, 'RetinaNet')
    model = build('RetinaNet', section, TERMS)
    pairs, (student, _), _ = pairs_of(model)
    own = student._outputs.latest('bbox_head')[0]
    head = model.bbox_head
    output = dense_output(head, student._outputs.latest('bbox_head'))
    for maps, level in zip(own, output.logits):
        expected = maps.permute(0, 2, 3, 1).reshape(2, -1, 4)  # as in AnchorHead
        assert_close(level.permute(0, 3, 4, 1, 2).reshape(2, -1, 4), expected)
    labels = [level.view(2, -1) for level in student._assigned.levels]
    expected = torch.cat(
        [
            maps.permute(0, 2, 3, 1).reshape(2, -1, 4)[n, rows[n]]
            for n in range(2)
            for maps, rows in zip(own, labels)
        ]
    )
    found = pairs['loss_positives']['student']
    assert len(found) == len(expected)
    assert_close(found.sort(dim=0).values, expected.sort(dim=0).values)


def test_quality_is_part_of_the_score_but_not_of_the_logits(folder):
    section = teacher_section(folder, 'ATSS')
    model = build('ATSS', section, TERMS)
    pairs, (_, teacher), _ = pairs_of(model)
    scores, _, quality = teacher._outputs.latest('bbox_head')
    best = torch.cat(
        [
            (one.sigmoid().amax(1) * other.sigmoid()[:, 0]).flatten(1)
            for one, other in zip(scores, quality)
        ],
        dim=1,
    )
    weight = pairs['loss_positives']['weight']
    assert all((best == one).any() for one in weight)


def test_another_order_of_classes_changes_nothing(folder, monkeypatch):
    """The teacher's classes go by name into the student's order, in rows, scores and costs."""
    names = ['ant', 'bee', 'cat', 'dog']
    section = teacher_section(folder, 'GFL')
    order = [2, 0, 3, 1]
    checkpoint = torch.load(section['checkpoint'], weights_only=False)
    for key in ('weight', 'bias'):
        part = checkpoint['state_dict'][f'bbox_head.gfl_cls.{key}']
        checkpoint['state_dict'][f'bbox_head.gfl_cls.{key}'] = part[order].clone()
    torch.save(checkpoint, folder / 'reordered.pth')
    monkeypatch.setattr('wkd_det.distillation.classes.training_class_names', lambda: names)
    found = []
    for path, own in (
        (section['checkpoint'], names),
        (folder / 'reordered.pth', [names[i] for i in order]),
    ):
        one = dict(section, checkpoint=str(path), class_names=own)
        losses = losses_of(build('GFL', one, TERMS))
        found.append({name: losses[name] for name in TERMS})
    for name in TERMS:
        assert_close(found[0][name], found[1][name])


def test_costs_of_all_priors_of_a_class(folder):
    section = teacher_section(folder, 'RetinaNet')
    model = build('RetinaNet', section, dict(loss_x=TERMS['loss_positives']))
    head = model.distiller.teacher.module.bbox_head
    rows = torch.stack(
        [
            torch.cat([head.retina_cls.weight[4 * prior + k].flatten() for prior in range(9)])
            for k in range(4)
        ]
    )
    term = model.distiller.terms['loss_x']
    assert_close(term.tap.class_rows(model.distiller.teacher.module), rows)
    assert term.loss.transport.cost.shape == (5, 5)
    added = [key for key in model.state_dict() if key.startswith('distiller.')]
    assert added == ['distiller.terms.loss_x.loss.transport.cost']


def test_a_checkpoint_holds_the_costs_and_nothing_of_the_teacher(folder):
    section = teacher_section(folder, 'GFL')
    model, other = (build('GFL', section, TERMS, seed=seed) for seed in (0, 1))
    other.load_state_dict(copy.deepcopy(model.state_dict()))
    first, second = losses_of(model), losses_of(other)
    assert all(torch.equal(first[name], second[name]) for name in TERMS)
    averaged = copy.deepcopy(model)  # as an EMA keeps it
    assert averaged.distiller.teacher is model.distiller.teacher
    assert torch.equal(losses_of(averaged)['loss_all'], first['loss_all'])


# What is refused when the model is built


def refused(name, match, teacher='GFL', **changes):
    term = dict(dict(tap='dense_logits', average='places', loss=KD), **changes)
    made = distilled_from(
        registered(config_of(name)), dict(config=config_of(teacher)), dict(loss_x=term)
    )
    with pytest.raises(ValueError, match=match):
        MODELS.build(copy.deepcopy(made))


UNKNOWN = 'of the student does not tell its positives'
NOT_DENSE = 'of the student is no dense head'


@pytest.mark.parametrize(
    ('name', 'match', 'changes'),
    [
        ('PAA', f'PAAHead {UNKNOWN}', dict(teacher='PAA', places='positives')),
        ('FSAF', f'FSAFHead {UNKNOWN}', dict(teacher='FSAF', places='positives')),
        ('FreeAnchor', f'RetinaHead {UNKNOWN}', dict(teacher='FreeAnchor', average='positives')),
        ('SSD', 'the SSDHead of the student has no sigmoid for each class', {}),
        ('DETR', f'the DETRHead {NOT_DENSE} .* no prior_generator with strides', {}),
        ('CenterNet', f'the CenterNetHead {NOT_DENSE}', {}),
        ('GFL', 'the CenterNetHead of the teacher is no dense head', dict(teacher='CenterNet')),
    ],
)  # fmt: skip
def test_heads_that_lack_something(name, match, changes):
    refused(name, match, **changes)


def test_a_head_that_reads_more_than_maps():
    @MODELS.register_module(force=True)
    class WordsGFLHead(GFLHead):
        def forward(self, maps, words):
            return super().forward(maps)

    config = config_of('GFL')
    config.bbox_head.type = 'WordsGFLHead'
    term = dict(tap='dense_logits', loss=KD)
    made = distilled_from(config, dict(config=config_of('GFL')), dict(loss_x=term))
    message = r"WordsGFLHead of the student needs more than the maps .* \['maps', 'words'\]"
    with pytest.raises(ValueError, match=message):
        MODELS.build(made)


def test_a_head_without_known_positives_has_places(folder):
    """PAA assigns again inside its loss; its places can be compared all the same."""
    section = section_of(folder, 'PAA')
    term = dict(tap='dense_logits', places='top', top=5, average='images', loss=KD)
    model = build(registered(config_of('PAA')), section, dict(loss_x=term))
    assert losses_of(model)['loss_x'] > 0


def test_classes_that_are_not_compared():
    term = dict(tap='dense_logits', loss=KD)
    section = dict(config=config_of('GFL'), classes='any')
    with pytest.raises(ValueError, match='loss_x compares dense_logits'):
        MODELS.build(distilled_from(config_of('GFL'), section, dict(loss_x=term)))


def test_images_without_labels():
    terms = dict(loss_x=dict(tap='dense_logits', loss=KD), loss_y=wkd_f_neck_term())
    made = distilled_from(config_of('GFL'), dict(config=config_of('GFL')), terms)
    with pytest.raises(ValueError, match='loss_x compares places of dense heads, which are not'):
        MODELS.build(dict(made, unlabelled=dict()))


def test_two_teachers_of_one_head(tmp_path):
    """Each term reads the places of its own teacher, as if it were the only one."""
    sections = {name: teacher_section(tmp_path, 'GFL') for name in ('one', 'two')}
    weights = torch.load(sections['two']['checkpoint'], weights_only=False)
    for value in weights['state_dict'].values():
        if value.is_floating_point():
            value.mul_(1.05)
    torch.save(weights, sections['two']['checkpoint'])
    taps = dict(
        loss_logits=dict(tap='dense_logits', loss=KD),
        loss_crossed=dict(tap='crossed_dense_logits', depth=1, loss=KD),
    )
    config = distilled_from(config_of('GFL'), sections['one'], {})
    del config['teacher']
    config.update(
        teachers=sections,
        distill={
            f'{key}_{name}': dict(term, teacher=name)
            for name in sections
            for key, term in taps.items()
        },
    )
    losses = losses_of(built(config))
    for name, section in sections.items():
        alone = losses_of(build('GFL', section, taps))
        for key in taps:
            assert_close(losses[f'{key}_{name}'], alone[key], rtol=0, atol=0)
    for key in taps:
        assert not torch.equal(losses[f'{key}_one'], losses[f'{key}_two'])
