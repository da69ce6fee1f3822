"""Pairs of queries: found again by other means; every kind; what is refused; classes by name."""

from __future__ import annotations

import copy

import pytest
import torch
from mmdet.models.dense_heads import DINOHead
from mmdet.models.layers.transformer.ddq_detr_layers import DDQTransformerDecoder
from mmdet.registry import MODELS
from mmengine.optim import OptimWrapper
from scipy.optimize import linear_sum_assignment
from torch.testing import assert_close
from torchvision.ops import box_convert, generalized_box_iou

from dense_cases import SIZES, accumulated, build, data_of, losses_of, pairs_of
from query_cases import KINDS, query_teacher, tiny_queries
from wkd_det.distillation.classes import order_of
from wkd_det.testing import distilled_from, random_batch, tiny_detector

KD, BOX = dict(type='SigmoidKDLoss'), dict(type='QueryBoxLoss')
MEMORY = dict(
    tap='memory',
    levels=[0],
    connector=dict(type='ConvConnector'),
    loss=dict(type='FitNetLoss'),
)
LOGITS = dict(tap='query_logits', loss=KD)
TEACHER = dict(pair_by='teacher', top=5)
COSTS = dict(type='ClassifierCost')


def terms_of(kind):
    """Every choice of pairs, with losses that the kind's logits fit."""
    soft = kind == 'DETR'
    wkd = dict(type='WKDLogitLoss' if soft else 'WKDSigmoidLoss', cost=COSTS)
    kd = dict(type='KDLoss') if soft else KD
    return dict(
        loss_targets=dict(tap='query_logits', layers='all', loss=wkd),
        loss_teacher=dict(tap='query_logits', loss=kd, **TEACHER),
        loss_boxes=dict(
            tap='query_boxes', layers=[0], teacher_layers=[1], weigh_by='teacher', loss=BOX
        ),
        loss_top=dict(tap='query_boxes', loss=BOX, **TEACHER),
    )


@pytest.fixture(scope='module')
def sections(tmp_path_factory):
    folder = tmp_path_factory.mktemp('teachers')
    made = {}

    def section(kind):
        if kind not in made:
            made[kind] = query_teacher(folder, kind)
        return made[kind]

    return section


def costs(logits, boxes, targets, labels, size, softmax):
    """Costs of queries and objects as the papers write them, ``(Q, G)``."""
    scale = torch.tensor([size[1], size[0]] * 2)
    probability = logits.softmax(1) if softmax else logits.sigmoid()
    if softmax:
        by_class = -probability[:, labels]
    else:
        present = 0.25 * (1 - probability) ** 2 * -probability.log()
        absent = 0.75 * probability**2 * -(1 - probability).log()
        by_class = 2 * (present - absent)[:, labels]
    centred = box_convert(targets, 'xyxy', 'cxcywh') / scale
    giou = generalized_box_iou(box_convert(boxes, 'cxcywh', 'xyxy') * scale, targets)
    return by_class + 5 * torch.cdist(boxes, centred, p=1) - 2 * giou


def check_best(queries, *args):
    """Whether queries, one for each object, cost as little as possible; ties are frequent."""
    found = costs(*args).double()
    rows, columns = linear_sum_assignment(found.numpy())
    least = found[rows, columns].sum()
    assert len(set(queries.tolist())) == len(queries)
    assert_close(found[queries, torch.arange(len(queries))].sum(), least, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('kind', ['DETR', 'ConditionalDETR', 'DABDETR', 'DeformableDETR', 'DINO'])
def test_pairs_are_those_of_the_hungarian_method(sections, kind):
    soft = kind == 'DETR'
    model = build(tiny_queries(kind), sections(kind), terms_of(kind) | dict(
        loss_targets=dict(tap='query_logits', layers=[1], teacher_layers=[0],
                          loss=terms_of(kind)['loss_targets']['loss']),
    ))  # fmt: skip
    pairs, (student, teacher), _ = pairs_of(model)
    raw = student._outputs.latest('bbox_head'), teacher._outputs.latest('bbox_head')
    own, other = (
        [(layer[0][:, -count:].detach(), layer[1][:, -count:].detach()) for layer in zip(*one[:2])]
        for one, count in zip(raw, (12, 20))
    )
    samples = data_of(model)['data_samples']
    matcher = student.query_matcher(teacher.queries())
    for name, pairing, (layer, teacher_layer), part in (
        ('loss_targets', 'targets', (1, 0), 0),
        ('loss_boxes', 'targets', (0, 1), 1),
        ('loss_teacher', 'teacher', (1, 1), 0),
        ('loss_top', 'teacher', (1, 1), 1),
    ):
        if pairing == 'targets':
            found = matcher.by_targets(layer, teacher_layer)
        else:
            found = matcher.by_teacher(layer, teacher_layer, 5)
        logits = other[teacher_layer][0]
        scores = logits.softmax(2)[..., :-1] if soft else logits.sigmoid()
        for n, sample in enumerate(samples):
            of_image = found.images == n
            ours, theirs = found.student[of_image], found.teacher[of_image]
            size = sample.img_shape
            if pairing == 'targets':
                objects = sample.gt_instances.bboxes, sample.gt_instances.labels, size, soft
                check_best(theirs, *(one[n] for one in other[teacher_layer]), *objects)
            else:
                best, labels = scores[n].max(1)
                assert torch.equal(theirs, best.argsort(descending=True)[:5])
                scale = torch.tensor([size[1], size[0]] * 2)
                corners = box_convert(other[teacher_layer][1][n][theirs], 'cxcywh', 'xyxy') * scale
                objects = corners, labels[theirs], size, soft
            check_best(ours, *(one[n] for one in own[layer]), *objects)
            assert torch.equal(found.labels[of_image], objects[1])
        pair = pairs[name]
        assert_close(pair['student'], own[layer][part][found.images, found.student])
        assert_close(pair['teacher'], other[teacher_layer][part][found.images, found.teacher])
        if name == 'loss_boxes':
            weight = scores.amax(2)[found.images, found.teacher]
            assert_close(pair['weight'], weight)
            assert_close(pair['avg_factor'], weight.sum())
    labels = torch.cat([sample.gt_instances.labels for sample in samples])
    if soft:
        assert torch.equal(pairs['loss_targets']['target'], labels)
        assert 'target' not in pairs['loss_teacher']
    else:
        assert pairs['loss_targets']['avg_factor'] == len(labels) == 6
        assert pairs['loss_teacher']['avg_factor'] == 10


@pytest.mark.parametrize('kind', KINDS)
def test_every_kind_trains_and_its_own_losses_stay(sections, kind):
    terms = terms_of(kind)
    plain = MODELS.build(copy.deepcopy(tiny_queries(kind)))
    model = build(tiny_queries(kind), sections(kind), terms)
    missing, unexpected = plain.load_state_dict(model.state_dict(), strict=False)
    assert missing == []
    inner = '' if kind == 'DETR' else 'transport.'
    assert unexpected == [f'distiller.terms.loss_targets.loss.{inner}cost']
    torch.manual_seed(3)  # noise of denoising queries, dropout
    expected = losses_of(plain.train())
    torch.manual_seed(3)
    found = losses_of(model)
    for name, value in expected.items():
        assert_close(value, found[name], rtol=0, atol=0, msg=name)
    assert all(found[name] > 0 for name in terms)
    assert 'assign' not in vars(model.bbox_head.assigner)
    assert not model.bbox_head._forward_hooks
    sum(found[name] for name in terms).backward()
    moved = [name for name, one in model.named_parameters() if one.grad is not None and
             one.grad.any()]  # fmt: skip
    assert any(name.startswith('backbone') for name in moved)
    assert any(name.startswith('bbox_head') for name in moved)


@pytest.mark.parametrize('kind', ['DETR', 'DINO'])
def test_batches_without_objects_and_bfloat16(sections, kind):
    terms = terms_of(kind)
    model = build(tiny_queries(kind), sections(kind), terms)
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.001))
    log = model.train_step(random_batch(list(SIZES), boxes=0), wrapper)
    assert all(value.isfinite() for value in log.values())
    assert log['loss_targets'] == log['loss_boxes'] == 0
    assert log['loss_teacher'] > 0
    assert log['loss_top'] > 0
    with torch.autocast('cpu', dtype=torch.bfloat16):
        losses = losses_of(model)
    assert all(losses[name].dtype == torch.float32 and losses[name] > 0 for name in terms)


@pytest.mark.parametrize('kind', ['DETR', 'DeformableDETR'])
def test_a_teacher_that_computes_in_a_form_of_its_own(sections, kind):
    """Folded and with channels last its queries say the same, in bfloat16 nearly."""
    folded = dict(fuse=True, channels_last=True)
    terms = terms_of(kind) | dict(loss_targets=MEMORY)
    outputs = []
    for inference in ({}, folded, dict(dtype='bfloat16')):
        section = dict(sections(kind), inference=inference)
        pairs, (_, teacher), losses = pairs_of(build(tiny_queries(kind), section, terms))
        assert all(losses[name].isfinite() for name in terms)
        assert pairs['loss_targets']['teacher'].dtype == torch.float32
        outputs.append(teacher.queries().boxes[1])
    assert {one.dtype for one in outputs} == {torch.float32}
    assert_close(outputs[1], outputs[0], rtol=1e-3, atol=1e-4)
    assert_close(outputs[2], outputs[0], rtol=0.1, atol=0.05)  # 8 bits, layer after layer


def test_distinct_queries_of_a_ddq(sections, monkeypatch):
    """Those that its layers leave out are not paired, and dense ones are no queries."""

    def kept(count, image):
        """The mask of an image: every third query is left out, from another one on in each."""
        return (torch.arange(count) + image) % 3 > 0

    def select(decoder, points, query, attention, layer):
        start, count = decoder.cache_dict['dis_query_info']
        heads = decoder.cache_dict['num_heads']
        masks = torch.cat(
            [kept(count, image).expand(heads, count, -1) for image in range(len(query))]
        )
        decoder.cache_dict['distinct_query_mask'].append(masks)
        return attention

    monkeypatch.setattr(DDQTransformerDecoder, 'select_distinct_queries', select)
    terms = dict(
        loss_top=dict(tap='query_boxes', pair_by='teacher', top=30, loss=BOX),
        loss_boxes=dict(tap='query_boxes', loss=BOX),
        loss_first=dict(tap='query_boxes', layers=[0], loss=BOX),
    )
    model = build(tiny_queries('DDQDETR'), sections('DDQDETR'), terms)
    pairs, (student, teacher), _ = pairs_of(model)
    own, other = student.queries(), teacher.queries()
    assert own.boxes[0].shape == (2, 12, 4)
    assert own.distinct[0] is None
    found = student.query_matcher(other).by_targets(1, 1)
    for n, sample in enumerate(data_of(model)['data_samples']):
        objects = sample.gt_instances.bboxes, sample.gt_instances.labels, sample.img_shape, False
        for output, queries, count in ((own, found.student, 12), (other, found.teacher, 20)):
            rows = kept(count, n).nonzero().flatten()
            chosen = torch.searchsorted(rows, queries[found.images == n])
            assert torch.equal(rows[chosen], queries[found.images == n])
            values = (one[1][n].detach()[rows] for one in (output.logits, output.boxes))
            check_best(chosen, *values, *objects)
    assert_close(pairs['loss_boxes']['student'], found.of_student(own.boxes[1]))
    assert_close(pairs['loss_boxes']['teacher'], found.of_teacher(other.boxes[1]))
    assert len(pairs['loss_top']['student']) == 8 + 8  # of 12 of the student's
    assert len(pairs['loss_first']['student']) == 6


def test_patterns_of_a_dab_detr(tmp_path):
    """Each of its queries is there once for each pattern."""
    config = tiny_queries('DABDETR')
    config.num_patterns = 3
    section = query_teacher(tmp_path, 'DABDETR')
    model = build(config, section, dict(loss_x=dict(LOGITS, **TEACHER), loss_y=LOGITS))
    pairs, (student, _), _ = pairs_of(model)
    assert student.queries().boxes[0].shape == (2, 36, 4)
    assert pairs['loss_x']['avg_factor'] == 10
    assert pairs['loss_y']['avg_factor'] == 6


def test_a_loss_that_assigns_in_another_order(sections):
    """Pairs are the same where the head looks at its encoder's queries first."""

    @MODELS.register_module(force=True)
    class EncoderFirstHead(DINOHead):
        def loss_by_feat(self, scores, boxes, encoder_scores, encoder_boxes, *args):
            self.loss_by_feat_single(encoder_scores, encoder_boxes, *args[:2])
            return super().loss_by_feat(scores, boxes, encoder_scores, encoder_boxes, *args)

    found = []
    for kind in ('DINOHead', 'EncoderFirstHead'):
        config = tiny_queries('DINO')
        config.bbox_head.type = kind
        model = build(config, sections('DINO'), dict(loss_x=LOGITS))
        torch.manual_seed(3)  # noise of denoising queries
        found.append(pairs_of(model)[0]['loss_x'])
    for side in ('student', 'teacher'):
        assert torch.equal(found[0][side], found[1][side])


def test_more_objects_than_queries(tmp_path):
    section = query_teacher(tmp_path, 'DeformableDETR', queries=4, layers=3)
    terms = dict(loss_x=dict(LOGITS, layers='all', teacher_layers=[0, 2]))
    model = build(tiny_queries('DeformableDETR', queries=2), section, terms)
    losses = losses_of(model, boxes=7)
    assert losses['loss_x'].isfinite()
    assert losses['loss_x'] > 0


def test_classes_are_those_of_the_same_name(tmp_path):
    """A teacher with the classes in another order gives the pairs of one with the same order."""
    names = ['ant', 'bee', 'cat', 'dog']
    section = query_teacher(tmp_path, 'DeformableDETR', class_names=names)
    turned = copy.deepcopy(section)
    weights = torch.load(section['checkpoint'], weights_only=False)
    for key, value in weights['state_dict'].items():
        if 'cls_branches' in key:
            weights['state_dict'][key] = value.flip(0)
    weights['meta']['dataset_meta']['classes'] = names[::-1]
    turned['checkpoint'] = str(tmp_path / 'turned.pth')
    torch.save(weights, turned['checkpoint'])
    found = []
    for one in (section, turned):
        model = build(tiny_queries('DeformableDETR'), one, dict(loss_x=LOGITS, loss_y=dict(
            LOGITS, loss=dict(type='WKDSigmoidLoss', cost=COSTS), **TEACHER)))  # fmt: skip
        teacher = model.distiller.teacher
        teacher.order = order_of(names, teacher.class_names)
        model.distiller.attach(model, {'teacher': teacher})
        torch.manual_seed(0)  # dropout
        found.append(pairs_of(model)[0])
    for name in ('loss_x', 'loss_y'):
        for side in ('student', 'teacher'):
            assert_close(found[0][name][side], found[1][name][side])


def test_accumulated_steps_are_the_larger_batch(sections):
    """Of the teacher's queries, of which every image has as many."""
    model = build(tiny_queries('DINO'), sections('DINO'), dict(loss_x=dict(LOGITS, **TEACHER)))
    assert_close(*accumulated(model, 'bbox_head.cls_branches.1.weight'), rtol=1e-4, atol=1e-7)


def test_two_teachers(sections, tmp_path):
    """Each term reads the queries of its own teacher."""
    one, two = sections('DINO'), query_teacher(tmp_path, 'DINO', queries=16, layers=1)
    made = distilled_from(tiny_queries('DINO'), one, {})
    del made['teacher']
    made.update(
        teachers=dict(one=one, two=two),
        distill=dict(loss_one=dict(LOGITS, teacher='one'), loss_two=dict(LOGITS, teacher='two')),
    )
    torch.manual_seed(0)
    model = MODELS.build(made)
    model.init_weights()
    pairs, *_ = pairs_of(model.train())
    alone, *_ = pairs_of(build(tiny_queries('DINO'), one, dict(loss_x=LOGITS)))
    assert_close(pairs['loss_one']['teacher'], alone['loss_x']['teacher'])
    assert not torch.allclose(pairs['loss_one']['teacher'], pairs['loss_two']['teacher'])


# What is refused when the model is built


def refused(student, teacher, match, **changes):
    config, other = (
        tiny_queries(one) if one in KINDS else tiny_detector(one) for one in (student, teacher)
    )
    made = distilled_from(config, dict(config=other), dict(loss_x=dict(LOGITS, **changes)))
    with pytest.raises(ValueError, match=match):
        MODELS.build(made)


@pytest.mark.parametrize(
    ('student', 'teacher', 'match', 'changes'),
    [
        ('GFL', 'DINO', 'student .*GFL has no queries: .* got GFLHead', {}),
        ('DINO', 'FasterRCNN', 'teacher FasterRCNN has no queries: .* got none', {}),
        ('DINO', 'GFL', 'teacher GFL has no queries',
         dict(tap='memory', loss=dict(type='FitNetLoss'))),
        ('DINO', 'DETR', 'DETRHead of the teacher has a softmax over classes and the DINOHead', {}),
        ('DETR', 'DETR', "'query_logits' yields logits, but SigmoidKDLoss takes dense_logits", {}),
        ('DINO', 'DINO', 'yields dense_logits, but KDLoss takes logits',
         dict(loss=dict(type='KDLoss'))),
        ('DETR', 'DETR', "weigh_by must be None: the DETRHead of the student has a softmax",
         dict(weigh_by='teacher', loss=dict(type='KDLoss'))),
        ('DETR', 'DETR', 'DKDLoss needs target, which QueryLogitsTap',
         dict(loss=dict(type='DKDLoss'), **TEACHER)),
        ('DINO', 'DINO', "pair_by must be one of .* got 'me'", dict(pair_by='me')),
        ('DINO', 'DINO', "weigh_by must be one of .* got 'me'", dict(weigh_by='me')),
        ('DINO', 'DINO', "top must be a number .* got None with 'teacher'",
         dict(pair_by='teacher')),
        ('DINO', 'DINO', "top must .* None otherwise, got 3 with 'targets'", dict(top=3)),
        ('DINO', 'DINO', 'top must .* got 0', dict(pair_by='teacher', top=0)),
        ('DINO', 'DINO', "layers must be 'last', 'all' or .* got 'first'", dict(layers='first')),
        ('DINO', 'DINO', r'layers must be .* got \[\]', dict(layers=[])),
        ('DINO', 'DINO', r'layers must be .* different .* got \[1, 1\]', dict(layers=[1, 1])),
        ('DINO', 'DINO', r'teacher_layers must be .* got \[-1\]', dict(teacher_layers=[-1])),
        ('DINO', 'DINO', r'layers must be below .* the student has 2, got \[2\]', dict(layers=[2])),
        ('DINO', 'DINO', r'layers are \[0, 1\] of 2 .* teacher_layers \[1\] of 2',
         dict(layers='all', teacher_layers='last')),
        ('DINO', 'DINO', 'layer_weights', dict(layers='all', layer_weights=[1.0])),
    ],
)  # fmt: skip
def test_what_is_refused(student, teacher, match, changes):
    refused(student, teacher, match, **changes)


def test_heads_that_lack_something():
    config = tiny_queries('DINO')
    made = distilled_from(config, dict(config=tiny_queries('DINO')), dict(loss_x=LOGITS))
    made.train_cfg = None
    with pytest.raises(ValueError, match='DINOHead of the student has no assigner'):
        MODELS.build(made)

    @MODELS.register_module(force=True)
    class WordsDINOHead(DINOHead):
        def forward(self, hidden_states, references, words):
            return super().forward(hidden_states, references)

    teacher = tiny_queries('DINO')
    teacher.bbox_head.type = 'WordsDINOHead'
    made = distilled_from(tiny_queries('DINO'), dict(config=teacher), dict(loss_x=LOGITS))
    with pytest.raises(ValueError, match=r"of the teacher needs more than .* \['words'\]"):
        MODELS.build(made)


def test_an_assigner_that_gives_an_object_several_queries():
    made = distilled_from(
        tiny_queries('DINO'), dict(config=tiny_queries('DINO')), dict(loss_x=LOGITS)
    )
    made.bbox_head.train_cfg = None
    made.train_cfg.assigner = dict(type='TopkHungarianAssigner', topk=4)
    with pytest.raises(ValueError, match='DINOHead of the student must be a HungarianAssigner'):
        MODELS.build(made)


@pytest.mark.parametrize('kind', ['DETR', 'DINO'])
@pytest.mark.parametrize('owner', ['student', 'teacher'])
def test_modules_behind_the_maps(kind, owner):
    """Tokens of several levels, or of images that are no squares, are no maps."""
    name = 'encoder.layers.1'
    student = tiny_queries(kind) if owner == 'student' else tiny_detector('RetinaNet')
    term = dict(tap=name if owner == 'student' else 'backbone.layer4', loss=MEMORY['loss'])
    if owner == 'teacher':
        term['teacher_tap'] = name
    made = distilled_from(student, dict(config=tiny_queries(kind)), dict(loss_x=term))
    with pytest.raises(ValueError, match=f"'{name}' is behind the maps of the .*{kind}, where"):
        MODELS.build(made)


def test_classes_that_are_not_compared():
    section = dict(config=tiny_queries('DINO'), classes='any')
    with pytest.raises(ValueError, match='loss_x compares dense_logits'):
        MODELS.build(distilled_from(tiny_queries('DINO'), section, dict(loss_x=LOGITS)))


def test_images_without_labels():
    made = distilled_from(
        tiny_queries('DINO'), dict(config=tiny_queries('DINO')),
        dict(loss_x=dict(LOGITS, **TEACHER)),
    )  # fmt: skip
    with pytest.raises(ValueError, match="loss_x reads 'bbox_head', which runs on labelled"):
        MODELS.build(dict(made, unlabelled=dict()))
