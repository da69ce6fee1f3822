"""Taps on dense heads: which places are compared, their weights and divisor; MMDetection's LD."""

from __future__ import annotations

import copy

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures.bbox import get_box_tensor
from mmengine.optim import OptimWrapper
from torch.testing import assert_close

from dense_cases import SIZES, accumulated, build, data_of, losses_of, pairs_of, teacher_section
from wkd_det.testing import distilled_from, random_batch, tiny_detector

W1 = dict(type='BoxWassersteinLoss')
ALL = dict(tap='box_distributions', places='all', weigh_by=None, average='places', loss=W1)
TOP = dict(ALL, places='top', top=7)


@pytest.fixture(scope='module')
def section(tmp_path_factory):
    return teacher_section(tmp_path_factory.mktemp('teachers'), 'GFL')


def term(**changes):
    return dict(loss_x=dict(tap='box_distributions', loss=W1, **changes))


def rows_of(maps, at):
    """Values of maps ``(N, C, H, W)`` of all levels at places (level, image, row, column)."""
    return torch.stack([maps[level][n, :, i, j] for n, level, i, j in at])


def places_of(levels, keep):
    """Image, level, row and column of places that are kept, in the order of the rows."""
    found = []
    for n in range(len(levels[0])):
        for level, maps in enumerate(levels):
            for i in range(maps.shape[-2]):
                for j in range(maps.shape[-1]):
                    if keep(n, level, i, j):
                        found.append((n, level, i, j))
    return found


def in_image(maps, n, level, i, j):
    """Whether the centre of a place lies in its image; the first fills the batch."""
    (height, width), (rows, columns) = SIZES[n], maps[level].shape[-2:]
    return (i + 0.5) * SIZES[0][0] / rows < height and (j + 0.5) * SIZES[0][1] / columns < width


@pytest.fixture(scope='module')
def step(section):
    """Pairs of one step with every choice of places, and the outputs of both heads."""
    terms = dict(
        loss_all=ALL,
        loss_top=TOP,
        loss_positives=dict(ALL, places='positives', weigh_by='teacher', average='weights'),
        loss_student=dict(ALL, weigh_by='student', average='positives'),
        loss_images=dict(TOP, weigh_by='teacher', average='images'),
        loss_places=dict(TOP, weigh_by='teacher', average='places'),
    )
    model = build('GFL', section, terms)
    pairs, (student, teacher), losses = pairs_of(model)
    own, other = student._outputs.latest('bbox_head'), teacher._outputs.latest('bbox_head')
    return model, pairs, own, other, losses


def test_all_places_in_the_images(step):
    _, pairs, own, other, losses = step
    pair = pairs['loss_all']
    at = places_of(own[0], lambda *place: in_image(own[0], *place))
    inside = pair['weight'] > 0
    assert 0 < inside.sum() == len(at) < len(inside)
    for owner, maps in (('student', own[1]), ('teacher', other[1])):
        assert_close(pair[owner][inside], rows_of(maps, at).view(-1, 4, 17))
        assert not pair[owner][~inside].any()
    assert pair['avg_factor'] == len(at)
    loss = MODELS.build(W1)(pair['student'][inside], pair['teacher'][inside])
    assert_close(losses['loss_all'], loss)


def test_top_places_of_the_teacher(step):
    _, pairs, own, other, _ = step
    for n in range(2):
        at = places_of(own[0], lambda m, *rest, n=n: m == n and in_image(own[0], m, *rest))
        scores = rows_of(other[0], at).sigmoid().amax(dim=1)
        best, chosen = scores.sort(descending=True)
        rows = slice(7 * n, 7 * n + 7)
        expected = rows_of(own[1], [at[index] for index in chosen[:7]]).view(-1, 4, 17)
        assert_close(pairs['loss_top']['student'][rows], expected)
        assert_close(pairs['loss_images']['weight'][rows], best[:7])
    assert pairs['loss_top']['avg_factor'] == pairs['loss_places']['avg_factor'] == 14
    assert pairs['loss_images']['avg_factor'] == 2


def test_positives_are_those_of_the_students_own_assignment(step):
    model, pairs, own, other, losses = step
    head, samples = model.bbox_head, data_of(model)['data_samples']
    metas = [sample.metainfo for sample in samples]
    sizes = [tuple(one.shape[-2:]) for one in own[0]]
    anchors, flags = head.get_anchors(sizes, metas, device='cpu')
    instances = [sample.gt_instances for sample in samples]
    for one in instances:
        one.bboxes = get_box_tensor(one.bboxes)
    labels = head.get_targets(anchors, flags, instances, metas)[1]

    def keep(n, level, i, j):
        return labels[level][n, i * sizes[level][1] + j] < head.num_classes

    at = places_of(own[0], keep)
    pair = pairs['loss_positives']
    assert len(at) > 5
    assert_close(pair['student'], rows_of(own[1], at).view(-1, 4, 17))
    assert_close(pair['teacher'], rows_of(other[1], at).view(-1, 4, 17))
    weight = rows_of(other[0], at).sigmoid().amax(dim=1)
    assert_close(pair['weight'], weight)
    assert_close(pair['avg_factor'], weight.sum())
    assert pairs['loss_student']['avg_factor'] == len(at)
    each = torch.stack([MODELS.build(W1)(*(pair[o][i : i + 1] for o in ('student', 'teacher')))
                        for i in range(len(at))])  # fmt: skip
    assert_close(losses['loss_positives'], (weight * each).sum() / weight.sum())


def test_weights_have_no_gradient(step):
    for pair in step[1].values():
        assert not pair.get('weight', torch.zeros(1)).requires_grad
        assert not pair['teacher'].requires_grad
        assert pair['student'].requires_grad


def test_ld_is_that_of_mmdetections_head(section):
    """Its ``loss_ld`` is a sum over the positives of a batch and a mean over bins."""
    terms = dict(
        loss_ld2=dict(
            tap='box_distributions',
            weigh_by='student',
            average='images',
            loss=dict(type='LDLoss', temperature=10.0, loss_weight=0.25 / 17),
        )
    )
    model = build('GFL', section, terms)
    _, (_, teacher), losses = pairs_of(model)
    config = copy.deepcopy(tiny_detector('GFL').bbox_head)
    config.type = 'LDHead'
    config.loss_ld = dict(type='KnowledgeDistillationKLDivLoss', loss_weight=0.25, T=10)
    head = MODELS.build(dict(config, train_cfg=tiny_detector('GFL').train_cfg))
    head.load_state_dict(model.bbox_head.state_dict())
    data = data_of(model)
    with torch.no_grad():
        maps = model.extract_feat(data['inputs'])
    expected = head.loss(maps, teacher._outputs.latest('bbox_head'), data['data_samples'])
    assert_close(2 * losses['loss_ld2'], sum(expected['loss_ld']), rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize('places', [ALL, TOP, dict(ALL, places='positives', weigh_by='teacher')])
def test_the_plain_losses_stay_and_nothing_is_left_behind(section, places):
    plain = MODELS.build(copy.deepcopy(tiny_detector('GFL')))
    model = build('GFL', section, dict(loss_x=places))
    assert not list(model.distiller.parameters())
    missing, unexpected = plain.load_state_dict(model.state_dict(), strict=False)
    assert missing == unexpected == []
    expected, found = losses_of(plain.train()), losses_of(model)
    assert found.pop('loss_x') > 0
    for name, values in expected.items():
        assert all(torch.equal(*pair) for pair in zip(values, found[name])), name
    assert 'get_targets' not in vars(model.bbox_head)
    assert not model.bbox_head._forward_hooks


def test_training_steps_also_of_bfloat16_and_of_batches_without_objects(section):
    terms = {f'loss_{i}': one for i, one in enumerate((ALL, TOP, term()['loss_x']))}
    model = build('GFL', section, terms)
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.01))
    log = model.train_step(random_batch(list(SIZES)), wrapper)
    assert all(log[name] > 0 for name in terms)
    log = model.train_step(random_batch(list(SIZES), boxes=0), wrapper)
    assert log['loss_2'] == 0
    assert all(log[name].isfinite() for name in log)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        losses = losses_of(model)
    assert all(losses[name].dtype == torch.float32 and losses[name] > 0 for name in terms)


def test_accumulated_steps_are_the_larger_batch(section):
    """Where each place counts the same in every batch: divided by images."""
    model = build('GFL', section, term(places='top', top=9, average='images'))
    assert_close(*accumulated(model, 'bbox_head.gfl_reg.weight'), rtol=1e-4, atol=1e-7)


def test_a_teacher_that_pads_otherwise(section):
    """Its maps are those of a larger batch, and places are compared where both have them."""
    padded = copy.deepcopy(section)
    padded['config'].data_preprocessor.pad_size_divisor = 128
    found = []
    for one in (section, padded):
        pairs, *_ = pairs_of(build('GFL', one, dict(loss_x=TOP)))
        found.append(pairs['loss_x'])
    assert found[0]['student'].shape == found[1]['student'].shape
    assert found[1]['avg_factor'] == 14


# What is refused when the model is built


def refused(student, teacher, match, **changes):
    config = tiny_detector(student) if isinstance(student, str) else student
    made = distilled_from(config, dict(config=teacher), term(**changes))
    with pytest.raises(ValueError, match=match):
        MODELS.build(copy.deepcopy(made))


def test_heads_without_distributions():
    gfl = tiny_detector('GFL')
    message = 'distill.loss_x: the ATSSHead of the {} predicts no distributions .* no reg_max'
    refused('ATSS', gfl, message.format('student'))
    refused('GFL', tiny_detector('ATSS'), message.format('teacher'))
    refused('FasterRCNN', gfl, 'the student .*FasterRCNN has a RoI head: use the tap roi_logits')
    refused('GFL', tiny_detector('FasterRCNN'), 'the teacher FasterRCNN has a RoI head')


def test_heads_that_look_at_other_places():
    gfl = tiny_detector('GFL')
    other = tiny_detector('GFL')
    other.bbox_head.anchor_generator.strides = [4, 8, 16, 32, 64]
    refused('GFL', other, r'same strides, got \[8, 16, 32, 64, 128\] and \[4, 8, 16, 32, 64\]')
    refused(
        'RetinaNet', gfl,
        r'RetinaHead of the student and the GFLHead of the teacher .* numbers of priors at a '
        r'place, got \[9, 9, 9, 9, 9\] and \[1, 1, 1, 1, 1\]',
    )  # fmt: skip
    wide = tiny_detector('GFL')
    wide.bbox_head.reg_max = 8
    refused('GFL', wide, 'of the student has 17 bins and the GFLHead of the teacher 9')


def test_options_outside_their_range():
    gfl = tiny_detector('GFL')
    for wrong, message in (
        (dict(places='some'), "places must be one of .* got 'some'"),
        (dict(weigh_by='me'), "weigh_by must be one of .* got 'me'"),
        (dict(average='sum'), "average must be one of .* got 'sum'"),
        (dict(places='top'), "top must be a number of places with places='top' .* got None"),
        (dict(places='top', top=0), 'top must be a number .* got 0'),
        (dict(top=0), "top must .* None otherwise, got 0 with 'positives'"),
        (dict(top=5), "top must be .* None otherwise, got 5 with 'positives'"),
    ):
        with pytest.raises(ValueError, match=message):
            MODELS.build(distilled_from(tiny_detector('GFL'), dict(config=gfl), term(**wrong)))
