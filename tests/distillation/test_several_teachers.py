"""Several teachers by name; the section of one teacher is the mapping of one."""

import copy
import re

import pytest
import torch
from mmengine.config import Config
from mmengine.model import ExponentialMovingAverage
from mmengine.visualization import Visualizer

from tiny_models import build
from wkd_det.classification.targets import Targets
from wkd_det.costs.files import write_cost_file
from wkd_det.detection.export import plain_config
from wkd_det.distillation.teacher import one_of, teacher_sources
from wkd_det.inspection.opening import check_plain
from wkd_det.testing import (
    class_logits_term,
    classifier_config,
    distilled_config,
    image_batch,
    module_term,
    random_batch,
    save_classifier,
    save_detector,
    tiny_faster_rcnn,
    wkd_f_neck_term,
    wkd_l_term,
)

LOGITS = dict(loss_logits=class_logits_term())
MAPS = dict(loss_maps=module_term())
DETECTOR_TERMS = dict(loss_rois=wkd_l_term(), loss_neck=wkd_f_neck_term())


@pytest.fixture(scope='module')
def sections(tmp_path_factory):
    """Two classifiers: a wider and a deeper one than the student."""
    folder = tmp_path_factory.mktemp('teachers')
    wide = save_classifier(classifier_config('resnet8x4'), folder / 'wide.pth')
    deep = save_classifier(classifier_config('resnet14'), folder / 'deep.pth', seed=2)
    return dict(wide=wide, deep=deep)


@pytest.fixture(scope='module')
def detectors(tmp_path_factory):
    """Two detectors of other widths."""
    folder = tmp_path_factory.mktemp('detectors')
    found = {}
    for name, width in dict(box=24, map=32).items():
        config = tiny_faster_rcnn(base_channels=12, fpn_channels=width)
        torch.manual_seed(width)
        found[name] = save_detector(
            config, folder / f'{name}.pth', class_names=['ant', 'bee', 'cat', 'dog']
        )
        found[name] = dict(config=config, checkpoint=str(folder / f'{name}.pth'))
    return found


def classifier(distill, **teachers):
    config = classifier_config(distill=distill, image_size=32, **teachers)
    return build(dict(config, type='DistilledClassifier'))


def detector(distill, **teachers):
    section = dict(teachers.pop('teacher', {}))
    config = distilled_config(section, distill)
    if not section:
        del config['teacher']
    config.update(copy.deepcopy(teachers))
    return build(config)


def losses_of(model, seed=0):
    images, labels = model.data_preprocessor(image_batch(seed=seed), True)
    return model.loss(images, labels)


def losses_of_detector(model):
    data = model.data_preprocessor(random_batch([(96, 128), (64, 96)]), True)
    torch.manual_seed(3)
    return model.loss(data['inputs'], data['data_samples'])


def named(terms, **teachers):
    """The terms, each with the name of its teacher."""
    return {key: dict(term, teacher=teachers[key]) for key, term in terms.items()}


def test_one_teacher_is_the_mapping_of_one(sections):
    terms = {**LOGITS, **MAPS}
    one = classifier(terms, teacher=sections['wide'])
    other = classifier(terms, teachers=dict(only=sections['wide']))
    assert list(one.state_dict()) == list(other.state_dict())
    found, expected = losses_of(one), losses_of(other)
    assert list(found) == list(expected) == ['loss_ce', 'loss_logits', 'loss_maps']
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    logs = [model.parse_losses(losses)[1] for model, losses in ((one, found), (other, expected))]
    assert logs[0].keys() == logs[1].keys()
    assert one.distiller.needed_teachers == ['teacher']
    assert one.distiller.teacher.section == 'teacher'


def test_each_term_reads_its_own(sections):
    both = named({**LOGITS, **MAPS}, loss_logits='wide', loss_maps='deep')
    model = classifier(both, teachers=sections)
    assert model.distiller.needed_teachers == ['wide', 'deep']
    losses = losses_of(model)
    for name, terms in dict(wide=LOGITS, deep=MAPS).items():
        (key,) = terms
        alone = losses_of(classifier(terms, teacher=sections[name]))
        torch.testing.assert_close(losses[key], alone[key], rtol=0, atol=0)
    other = named({**LOGITS, **MAPS}, loss_logits='deep', loss_maps='wide')
    swapped = losses_of(classifier(other, teachers=sections))
    assert not torch.equal(swapped['loss_logits'], losses['loss_logits'])


def test_each_term_of_a_detector_reads_its_own(detectors):
    terms = named(DETECTOR_TERMS, loss_rois='box', loss_neck='map')
    model = detector(terms, teachers=detectors)
    losses = losses_of_detector(model)
    for key, name in dict(loss_rois='box', loss_neck='map').items():
        alone = detector({key: DETECTOR_TERMS[key]}, teacher=detectors[name])
        torch.testing.assert_close(losses[key], losses_of_detector(alone)[key], rtol=0, atol=0)
    total, log = model.parse_losses(losses)
    total.backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    assert {'share_rois', 'share_neck'} <= log.keys()


def test_the_terms_of_one_teacher_may_have_another_beside_them(sections):
    """Two terms of one kind, each with a teacher: the student learns from both."""
    term = LOGITS['loss_logits']
    terms = dict(loss_wide=dict(term, teacher='wide'), loss_deep=dict(term, teacher='deep'))
    model = classifier(terms, teachers=sections)
    costs = [one.loss.cost for one in model.distiller.terms.values()]
    assert not torch.equal(*costs)  # of the classifier of each
    for name in sections:
        alone = classifier(LOGITS, teacher=sections[name]).distiller.terms['loss_logits']
        assert torch.equal(model.distiller.terms[f'loss_{name}'].loss.cost, alone.loss.cost)


def test_a_teacher_runs_only_if_a_live_term_reads_it(sections):
    terms = named({**LOGITS, **MAPS}, loss_logits='wide', loss_maps='deep')
    model = classifier(terms, teachers=sections)
    runs = []
    for name, teacher in model.distiller.teachers.items():
        teacher.module.register_forward_hook(lambda *_, name=name: runs.append(name))
        network = model.network_of(teacher.module)
        network.register_forward_hook(lambda *_, name=name: runs.append(name))
    losses_of(model)
    assert runs == ['wide', 'deep']
    runs.clear()
    model.distiller.set_scale('loss_logits', 0.0)
    assert float(losses_of(model)['loss_logits']) == 0
    assert runs == ['deep']
    assert model.distiller.live_teachers == ['deep']
    runs.clear()
    model.distiller.set_scale('loss_maps', 0.0)
    losses_of(model)
    assert runs == []


def test_a_teacher_that_no_term_reads_is_not_loaded(sections):
    missing = dict(sections['wide'], checkpoint='nowhere.pth')
    model = classifier(
        named(MAPS, loss_maps='deep'), teachers=dict(wide=missing, deep=sections['deep'])
    )
    assert list(model.distiller.teachers) == ['deep']


def test_they_are_frozen_and_no_part_of_the_model(sections):
    terms = named({**LOGITS, **MAPS}, loss_logits='wide', loss_maps='deep')
    model = classifier(terms, teachers=sections)
    model.parse_losses(losses_of(model))[0].backward()
    plain = build(classifier_config())
    own = model.state_dict()
    assert [key for key in own if not key.startswith('distiller.')] == list(plain.state_dict())
    average = ExponentialMovingAverage(model).module
    for name, teacher in model.distiller.teachers.items():
        assert not set(model.modules()) & set(teacher.module.modules())
        assert not any(p.requires_grad or p.grad is not None for p in teacher.module.parameters())
        assert not any(module.training for module in teacher.module.train(False).modules())
        assert average.distiller.teachers[name] is teacher
    with pytest.raises(ValueError, match=r'teachers wide, deep: ask teachers\[NAME\]'):
        _ = model.distiller.teacher


def test_without_terms_the_losses_are_those_of_the_plain_model(sections):
    plain, same = (
        losses_of(build(classifier_config())),
        losses_of(classifier({}, teachers=sections)),
    )
    assert plain.keys() == same.keys()
    assert torch.equal(plain['loss_ce'], same['loss_ce'])


def test_each_has_its_own_preprocessor_and_inference(sections, tmp_path):
    other = classifier_config(
        'resnet14',
        data_preprocessor=dict(type='ImagePreprocessor', mean=[10.0] * 3, std=[20.0] * 3),
    )
    section = save_classifier(other, tmp_path / 'other.pth', seed=2)
    teachers = dict(wide=dict(sections['wide'], inference=dict(dtype='bfloat16')), deep=section)
    terms = named({**LOGITS, **MAPS}, loss_logits='wide', loss_maps='deep')
    model = classifier(terms, teachers=teachers)
    losses = losses_of(model)
    types = [next(one.module.parameters()).dtype for one in model.distiller.teachers.values()]
    assert types == [torch.bfloat16, torch.float32]
    for name, alone in dict(wide=LOGITS, deep=MAPS).items():
        (key,) = alone
        expected = losses_of(classifier(alone, teacher=teachers[name]))[key]
        torch.testing.assert_close(losses[key], expected, rtol=0, atol=0)


@pytest.fixture
def trains_on():
    Visualizer.get_instance('names').dataset_meta = dict(classes=['ant', 'bee', 'cat', 'dog'])


def test_each_has_its_own_classes(detectors, tmp_path, trains_on):
    """One in another order, one of classes that do not matter."""
    config = tiny_faster_rcnn(base_channels=12, fpn_channels=32, num_classes=7)
    save_detector(config, tmp_path / 'other.pth', class_names=list('abcdefg'))
    teachers = dict(
        box=dict(detectors['box'], class_names=['bee', 'ant', 'dog', 'cat']),
        map=dict(config=config, checkpoint=str(tmp_path / 'other.pth'), classes='any'),
    )
    model = detector(named(DETECTOR_TERMS, loss_rois='box', loss_neck='map'), teachers=teachers)
    assert model.distiller.teachers['box'].order.indices == [1, 0, 3, 2]
    assert model.distiller.teachers['map'].order.is_identity
    losses = losses_of_detector(model)
    assert losses['loss_rois'].isfinite()
    assert losses['loss_neck'] > 0
    with pytest.raises(
        ValueError, match=r"teachers.map.classes='any' compares no classes, and distill.loss_rois"
    ):
        detector(named(DETECTOR_TERMS, loss_rois='map', loss_neck='map'), teachers=teachers)
    strict = dict(teachers, map=dict(teachers['map'], classes='same'))
    with pytest.raises(ValueError, match="taken with teachers.map.classes='subset'"):
        detector(named(DETECTOR_TERMS, loss_rois='box', loss_neck='map'), teachers=strict)


def test_costs_from_a_file_are_in_the_order_of_the_student(detectors, tmp_path, trains_on):
    names = ['ant', 'bee', 'cat', 'dog', 'background']
    distance = torch.arange(25.0).reshape(5, 5)
    distance = (distance + distance.T).fill_diagonal_(0) / 50
    write_cost_file(tmp_path / 'cost.safetensors', distance, names)
    cost = dict(type='FileCost', path=str(tmp_path / 'cost.safetensors'))
    term = wkd_l_term()
    term['loss'] = dict(term['loss'], cost=cost)
    teachers = dict(
        box=dict(detectors['box'], class_names=['dog', 'cat', 'bee', 'ant']), map=detectors['map']
    )
    terms = dict(loss_one=dict(term, teacher='box'), loss_two=dict(term, teacher='map'))
    model = detector(terms, teachers=teachers)
    one, two = (term.loss.cost for term in model.distiller.terms.values())
    assert torch.equal(one, two)


def test_crossed_taps_run_the_later_part_of_their_teacher(sections):
    crossed = dict(
        tap='crossed_logits', connector=dict(type='BridgeConnector'), loss=dict(type='KDLoss')
    )
    terms = dict(loss_crossed=dict(crossed, teacher='deep'), **named(LOGITS, loss_logits='wide'))
    model = classifier(terms, teachers=sections)
    torch.manual_seed(5)  # paths are drawn
    found = losses_of(model)['loss_crossed']
    alone = classifier(dict(loss_crossed=crossed), teacher=sections['deep'])
    torch.manual_seed(5)
    torch.testing.assert_close(found, losses_of(alone)['loss_crossed'], rtol=0, atol=0)


def test_connectors_are_borrowed_from_terms_with_the_same_teacher(detectors):
    own = wkd_f_neck_term()
    borrowed = dict(own, connector='loss_own')
    terms = dict(loss_own=dict(own, teacher='map'), loss_x=dict(borrowed, teacher='map'))
    model = detector(terms, teachers=detectors)
    assert losses_of_detector(model)['loss_x'] > 0
    terms['loss_x']['teacher'] = 'box'
    with pytest.raises(
        ValueError,
        match="distill.loss_x reads the teacher 'box', but the connectors of distill.loss_own "
        "lead to the teacher 'map'",
    ):
        detector(terms, teachers=detectors)


def test_a_term_that_is_not_finite_is_skipped_alone(sections):
    terms = named({**LOGITS, **MAPS}, loss_logits='wide', loss_maps='deep')
    config = classifier_config(
        distill=terms, teachers=sections, image_size=32, on_non_finite='skip'
    )
    model = build(dict(config, type='DistilledClassifier'))
    network = model.network_of(model.distiller.teachers['wide'].module)
    network.fc.bias.data[0] = float('nan')
    losses = losses_of(model)
    assert losses['loss_logits'] == 0
    assert losses['loss_maps'] > 0
    assert model.distiller.skipped == {'loss_logits': 1}


UNNAMED = {**LOGITS, **MAPS}


@pytest.mark.parametrize(
    ('distill', 'changes', 'error', 'message'),
    [
        (
            UNNAMED, {}, KeyError,
            "distill.loss_logits needs a teacher, and there are 2: set its teacher to one of "
            "['wide', 'deep']",
        ),
        (
            named(LOGITS, loss_logits='wdie'), {}, KeyError,
            "distill.loss_logits.teacher must be one of ['wide', 'deep'], got 'wdie'",
        ),
        (
            named(LOGITS, loss_logits='wide'), dict(teacher=dict(config={})), ValueError,
            'teacher and teachers are both set: a model has one teacher',
        ),
        (
            named(LOGITS, loss_logits='wide'), dict(teachers=['a.py']), TypeError,
            "teachers must be a dict of names, each with config and checkpoint as in teacher, got "
            "['a.py']",
        ),
        (
            named(LOGITS, loss_logits='wide'),
            dict(teachers=dict(wide=dict(config={}, chekpoint='a'))), KeyError,
            "teachers.wide has unknown keys ['chekpoint']; valid keys are ['checkpoint', "
            "'class_names', 'classes', 'config', 'inference', 'overrides']",
        ),
        (
            named(LOGITS, loss_logits='wide'), dict(teachers=dict(wide='a.py')), TypeError,
            "teachers.wide must be a dict with config and checkpoint, got 'a.py'",
        ),
        (
            named(LOGITS, loss_logits='wide'),
            dict(teachers=dict(wide=dict(config={}, inference=dict(fuse=1)))), ValueError,
            'teachers.wide.inference.fuse must be True or False, got 1',
        ),
        (
            dict(loss_own=dict(tap='logits', teacher='wide', loss=dict(type='TfKDLoss'))), {},
            ValueError,
            "distill.loss_own.teacher is 'wide', but neither the tap 'logits' nor TfKDLoss reads "
            'a teacher: leave it out',
        ),
        (
            named(LOGITS, loss_logits='wide'), dict(stored_of='fast'), KeyError,
            "stored_of must name a teacher, one of ['wide', 'deep'], got 'fast'",
        ),
    ],
)  # fmt: skip
def test_mistakes(sections, distill, changes, error, message):
    with pytest.raises(error, match=re.escape(message)):
        classifier(distill, **dict(dict(teachers=sections), **changes))


def test_a_missing_checkpoint_is_named_by_its_place(sections):
    teachers = dict(wide=dict(config=sections['wide']['config']))
    with pytest.raises(ValueError, match=r'--cfg-options model.teachers.wide.checkpoint=PATH'):
        classifier(LOGITS, teachers=teachers)


def test_a_distilled_teacher_leaves_its_own_teachers_behind(sections):
    config = dict(
        classifier_config(distill=LOGITS, image_size=32, teachers=sections),
        type='DistilledClassifier',
    )
    (source,) = teacher_sources(dict(config=config), None).values()
    assert not {'teacher', 'teachers', 'distill'} & source.model_config().keys()


def test_one_of_several():
    teachers = dict(wide=1, deep=2)
    assert one_of(teachers, 'deep', '') == 2
    assert one_of(dict(wide=1), None, '') == 1
    with pytest.raises(KeyError, match="no such teacher: got 'dep'; near matches are deep"):
        one_of(teachers, 'dep', '')
    with pytest.raises(ValueError, match='there are the teachers wide, deep: say which'):
        one_of(teachers, None, 'say which')


def test_stored_outputs_stand_in_for_the_one_that_they_are_of(sections):
    terms = named({**LOGITS, **MAPS}, loss_logits='wide', loss_maps='deep')
    runs = []

    def losses(model, count):
        images, labels = model.data_preprocessor(image_batch(), True)
        stored = model.teacher_outputs(images, [''], 'wide')
        runs.clear()
        for _ in range(count):
            found = model.loss(images, Targets(labels, stored=stored))
        return found

    model = classifier(terms, teachers=sections, stored_of='wide')
    for name, teacher in model.distiller.teachers.items():
        network = model.network_of(teacher.module)
        network.register_forward_hook(lambda *_, name=name: runs.append(name))
    found = losses(model, 2)
    assert runs == ['wide', 'deep', 'deep']  # the first is asked once whether it says the same
    expected = losses(classifier(terms, teachers=sections, stored_of='wide'), 1)
    torch.testing.assert_close(found['loss_logits'], expected['loss_logits'], rtol=1e-4, atol=0)
    message = 'there are the teachers wide, deep: set stored_of of the model to the one whose'
    with pytest.raises(ValueError, match=message):
        losses(classifier(terms, teachers=sections), 1)


def test_outputs_of_a_named_teacher(sections):
    terms = named({**LOGITS, **MAPS}, loss_logits='wide', loss_maps='deep')
    model = classifier(terms, teachers=sections)
    images, _ = model.data_preprocessor(image_batch(), True)
    for name, teacher in model.distiller.teachers.items():
        expected = model.network_of(teacher.module)(images)
        assert torch.equal(model.teacher_outputs(images, [''], name)[''], expected)
    with pytest.raises(KeyError, match="no such teacher: got 'dep'; near matches are deep"):
        model.teacher_outputs(images, [''], 'dep')


def test_an_exported_student_knows_nothing_of_them(detectors):
    config = distilled_config({}, named(DETECTOR_TERMS, loss_rois='box', loss_neck='map'))
    del config['teacher']
    config['teachers'] = detectors
    plain = plain_config(Config(dict(model=config))).model
    assert plain.type == 'FasterRCNN'
    assert not {'teacher', 'teachers', 'distill', 'on_non_finite'} & plain.keys()


def test_a_picture_of_a_network_asks_for_the_config_of_one(sections):
    config = Config(dict(model=dict(type='DistilledClassifier', teachers=sections)))
    message = r'one of them \(model.teachers.wide.config, model.teachers.deep.config\)$'
    with pytest.raises(ValueError, match=message):
        check_plain(config)
