"""The README's matrix of methods and kinds: every cell is tried on tiny networks."""

from __future__ import annotations

import copy
from functools import partial
from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS

from wkd_det.classification.targets import Targets
from wkd_det.testing import (
    classifier_config,
    distilled_from,
    image_batch,
    random_batch,
    save_classifier,
    save_detector,
    tiny_detector,
)

README = Path(__file__).resolve().parents[2] / 'README.md'
KINDS = {
    'Faster R-CNN': 'FasterRCNN',
    'Mask R-CNN': 'MaskRCNN',
    'Cascade R-CNN': 'CascadeRCNN',
    'RetinaNet': 'RetinaNet',
    'FCOS': 'FCOS',
    'ATSS': 'ATSS',
    'GFL': 'GFL',
    'RTMDet': 'RTMDet',
    'DINO': 'DINO',
}
CONV = dict(type='ConvConnector', kernel_size=1)
LOGITS = {
    'KD': dict(type='KDLoss'),
    'DKD': dict(type='DKDLoss'),
    'NKD': dict(type='NKDLoss'),
    'WSLD': dict(type='WSLDLoss'),
    'DIST': dict(type='DISTLoss'),
    'TTM': dict(type='TTMLoss'),
    'WTTM': dict(type='WTTMLoss'),
    'CTKD': dict(type='CTKDLoss'),
    'WKD-L': dict(type='WKDLogitLoss', cost=dict(type='ClassifierCost')),
}
MAPS = {
    'FitNet': dict(type='FitNetLoss'),
    'NST': dict(type='NSTLoss'),
    'ICKD-C': dict(type='ICKDLoss'),
    'PKD': dict(type='PKDLoss'),
    'AT': dict(type='ATLoss'),
    'SP': dict(type='SPLoss'),
    'FT': dict(type='FTLoss'),
    'MGD': dict(type='MGDLoss'),
    'SRRL': dict(type='SRRLLoss'),
    'DiffKD': dict(type='DiffKDLoss', hidden_channels=8),
    'WKD-F on maps': dict(type='WKDFeatureLoss', grid=2, loss_weight=5e-3),
}
PYRAMIDS = {
    'ReviewKD': dict(type='ReviewKDLoss'),
    'VID': dict(type='VIDLoss'),
    'AB': dict(type='ABLoss'),
    'FSP': dict(type='FSPLoss'),
    'OFD': dict(type='OFDLoss'),
}
BANKS = dict(num_samples=40, negatives=8)
DENSE = {
    'WKD-L-dense': dict(type='WKDSigmoidLoss', cost=dict(type='ClassifierCost')),
    'sigmoid KD': dict(type='SigmoidKDLoss'),
    'QFL-KD': dict(type='QualityFocalKDLoss'),
}
SIDES = {
    'LD': dict(type='LDLoss'),
    'WKD-sides': dict(type='BoxWassersteinLoss'),
}
VECTORS = {
    'RKD': dict(type='RKDLoss'),
    'PKT': dict(type='PKTLoss'),
    'CC': dict(type='CCLoss'),
    'CRD': dict(type='CRDLoss', **BANKS),
    'WCoRD': dict(type='WCoRDLoss', **BANKS),
    'EMD+IPOT': dict(type='IPOTLoss'),
}

KD = dict(type='KDLoss')
OF_CLASSIFIERS = {
    'FCFD': dict(
        loss_x=dict(tap='crossed_logits', connector=dict(type='BridgeConnector'), loss=KD),
        loss_y=dict(tap='crossed_features', connector='loss_x', loss=dict(type='FitNetLoss')),
    ),
    'OFA': dict(
        loss_x=dict(tap='branch', modules='stages', connector=dict(type='OFABranch'), loss=KD)
    ),
    'DPK': dict(loss_x=dict(tap='pyramid', modules='stages', loss=dict(type='DPKLoss', width=16))),
}


def detector_terms(method, kind):
    """The terms of a method; a Cascade must be told its stage."""
    stage = dict(stage=0) if kind == 'CascadeRCNN' else {}
    if method in LOGITS:
        return dict(loss_x=dict(tap='roi_logits', loss=LOGITS[method], **stage))
    if method in DENSE:
        return dict(loss_x=dict(tap='dense_logits', loss=DENSE[method]))
    if method in SIDES:
        return dict(loss_x=dict(tap='box_distributions', loss=SIDES[method]))
    if method in MAPS:
        return dict(loss_x=dict(tap='neck', levels=[0], connector=CONV, loss=MAPS[method]))
    if method in VECTORS:
        return dict(loss_x=dict(tap='pool', loss=VECTORS[method]))
    if method in PYRAMIDS:
        abf = dict(type='ABFConnector', mid_channels=8)
        connector = abf if method == 'ReviewKD' else CONV
        return dict(loss_x=dict(tap='pyramid', connector=connector, loss=PYRAMIDS[method]))
    feature, offsets = MAPS['WKD-F on maps'], dict(type='OffsetLoss')
    crossed = dict(tap='crossed_offsets', head='teacher', connector='loss_x', loss=offsets)
    return {
        'WKD-F on RoIs': dict(
            loss_x=dict(tap='roi_feats', roi_size=4, connector=CONV, loss=feature, **stage)
        ),
        'CrossKD': dict(
            loss_x=dict(tap='crossed_dense_logits', depth=1, loss=DENSE['QFL-KD']),
            loss_y=dict(tap='crossed_box_distributions', depth=1, loss=SIDES['LD']),
        ),
        'KD-query': dict(
            loss_x=dict(tap='query_logits', loss=DENSE['sigmoid KD']),
            loss_y=dict(tap='query_boxes', loss=dict(type='QueryBoxLoss')),
        ),
        'WKD-L-query': dict(
            loss_x=dict(tap='query_logits', layers='all', loss=DENSE['WKD-L-dense']),
            loss_y=dict(tap='query_boxes', loss=dict(type='QueryBoxLoss')),
        ),
        'WKD-F-memory': dict(loss_x=dict(tap='memory', levels=[0], connector=CONV, loss=feature)),
        'WKD box term': dict(loss_x=dict(tap='roi_boxes', loss=dict(type='BoxLoss'), **stage)),
        'CAT-KD': dict(loss_x=dict(tap='class_activation', loss=dict(type='CATKDLoss'))),
        'FGFI': dict(loss_x=dict(tap='imitation', connector=CONV, loss=dict(type='FGFILoss'))),
        'OFA': OF_CLASSIFIERS['OFA'],
        'DPK': dict(loss_x=dict(tap='pyramid', loss=dict(type='DPKLoss', width=16))),
        'ICD': dict(loss_x=dict(tap='instances', loss=dict(type='ICDLoss', width=16, num_heads=2))),
        'FCFD': dict(
            loss_x=dict(tap='neck', connector=CONV, loss=MAPS['FitNet']),
            loss_y=dict(tap='roi_offsets', loss=offsets, **stage),
            loss_z=dict(crossed, **stage),
        ),
    }[method]


def classifier_terms(method):
    """The terms of a method, or those of a detector where it has none for classifiers."""
    if method in LOGITS:
        return dict(loss_x=dict(tap='logits', loss=LOGITS[method]))
    if method in MAPS:
        return dict(loss_x=dict(tap='layer3', connector=CONV, loss=MAPS[method]))
    if method in PYRAMIDS:
        term = detector_terms(method, 'classifier')['loss_x']
        return dict(loss_x=dict(term, modules='stages_before'))
    if method in OF_CLASSIFIERS:
        return OF_CLASSIFIERS[method]
    return detector_terms(method, 'classifier')


def matrix():
    """Cells of the README by method and kind."""
    text = README.read_text(encoding='utf-8').partition('| method |')
    lines = (text[1] + text[2]).partition('\n\n')[0].splitlines()
    rows = [[cell.strip() for cell in line.strip('|').split('|')] for line in lines]
    kinds, cells = rows[0][1:], {}
    for methods, *marks in rows[2:]:
        for method in methods.split(', '):
            cells.update({(method, kind): mark for kind, mark in zip(kinds, marks)})
    return cells


CELLS = matrix()


@pytest.fixture(scope='module')
def teacher_of(tmp_path_factory):
    folder, sections = tmp_path_factory.mktemp('teachers'), {}

    def section(kind):
        if kind not in sections:
            path = folder / f'{kind}.pth'
            if kind == 'classifier':
                sections[kind] = save_classifier(classifier_config('resnet14'), path)
            else:
                config = tiny_detector(kind, fpn_channels=24)
                save_detector(config, path)
                sections[kind] = dict(config=config, checkpoint=str(path))
        return sections[kind]

    return section


def losses_of(kind, methods, teacher):
    """Losses of the terms of some methods, in one training pass of a student."""
    terms_of = classifier_terms if kind == 'classifier' else partial(detector_terms, kind=kind)
    distill = {}
    for index, method in enumerate(methods):
        for name, term in copy.deepcopy(terms_of(method)).items():
            if isinstance(term.get('connector'), str):
                term['connector'] += f'_{index}'
            distill[f'{name}_{index}'] = term
    torch.manual_seed(0)
    if kind == 'classifier':
        config = classifier_config(image_size=32, teacher=teacher, distill=distill)
        model = MODELS.build(dict(config, type='DistilledClassifier')).train()
        images, labels = model.data_preprocessor(image_batch(), True)
        if model.distiller.keeps_samples:
            model.distiller.set_samples(torch.arange(BANKS['num_samples']) % 10)
        targets = Targets(labels, indices=torch.arange(len(labels)))
        losses = model(images, targets, mode='loss')
    else:
        model = MODELS.build(copy.deepcopy(distilled_from(tiny_detector(kind), teacher, distill)))
        batch = random_batch([(96, 128), (64, 96)], masks=kind == 'MaskRCNN')
        data = model.train().data_preprocessor(batch, True)
        losses = model.loss(data['inputs'], data['data_samples'])
    return {name: losses[name] for name in distill}


def test_the_matrix_is_complete():
    assert {method for method, _ in CELLS} == {
        *LOGITS,
        *MAPS,
        *VECTORS,
        *PYRAMIDS,
        *DENSE,
        *SIDES,
        *OF_CLASSIFIERS,
        *('WKD-F on RoIs', 'WKD box term', 'CAT-KD', 'FGFI', 'ICD', 'CrossKD'),
        *('WKD-L-query', 'KD-query', 'WKD-F-memory'),
    }
    assert {kind for _, kind in CELLS} == {*KINDS, 'classifiers'}
    assert set(CELLS.values()) == {'yes', '–'}


@pytest.mark.parametrize('kind', [*KINDS, 'classifiers'])
def test_what_is_there_trains(kind, teacher_of):
    """Each yes has terms that are positive."""
    methods = [method for (method, place), mark in CELLS.items() if (place, mark) == (kind, 'yes')]
    name = KINDS.get(kind, 'classifier')
    losses = losses_of(name, methods, teacher_of(name))
    assert len(losses) >= len(methods)
    for term, value in losses.items():
        assert value.isfinite(), term
        assert value > 0, term


@pytest.mark.parametrize(
    ('method', 'kind'), [cell for cell, mark in CELLS.items() if mark == '–'], ids=str
)
def test_a_gap_is_refused(method, kind, teacher_of):
    name = KINDS.get(kind, 'classifier')
    reasons = (
        'has no RoI head|no such module|no module has that name|needs anchors|which .* does not '
        'give|tap must be one of|needs the sizes|has a RoI head|predicts no distributions|'
        'has no queries|is no dense head over the levels|has no cls_convs and reg_convs'
    )
    with pytest.raises((ValueError, KeyError), match=reasons):
        losses_of(name, [method], teacher_of(name))
