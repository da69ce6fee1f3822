"""Taps on the pyramid as a whole, near objects, on boxes, and through the other network's head."""

from __future__ import annotations

import copy

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures.bbox import bbox_overlaps
from mmengine.model import ExponentialMovingAverage

from wkd_det.detection.taps.objects import near_objects
from wkd_det.hooks.cpu_amp import CPUAmpOptimWrapper
from wkd_det.testing import distilled_config, random_batch, save_detector, tiny_faster_rcnn

SIZES = [(96, 128), (128, 100)]
CONV = dict(type='ConvConnector', kernel_size=3)
FEATURES = dict(type='WKDFeatureLoss', grid=2, loss_weight=5e-3)
LOGITS = dict(type='WKDLogitLoss', cost=dict(type='ClassifierCost'))
OFFSETS = dict(type='OffsetLoss')
ICD = dict(type='ICDLoss', width=16, num_heads=2)

REVIEWKD = dict(
    loss_reviewkd=dict(
        tap='pyramid',
        connector=dict(type='ABFConnector', mid_channels=8),
        loss=dict(type='ReviewKDLoss', loss_weight=1.2),
    )
)
FGFI = dict(loss_fgfi=dict(tap='imitation', connector=CONV, loss=dict(type='FGFILoss')))
BOX = dict(loss_box_wkd=dict(tap='roi_boxes', loss=dict(type='BoxLoss')))
FCFD = dict(
    loss_app=dict(tap='neck', connector=CONV, loss=FEATURES),
    loss_offsets=dict(tap='roi_offsets', loss=OFFSETS),
    loss_logits_there=dict(tap='crossed_logits', head='teacher', connector='loss_app', loss=LOGITS),
    loss_offsets_there=dict(
        tap='crossed_offsets', head='teacher', connector='loss_app', loss=OFFSETS
    ),
    loss_logits_back=dict(tap='crossed_logits', head='student', connector=CONV, loss=LOGITS),
    loss_offsets_back=dict(
        tap='crossed_offsets', head='student', connector='loss_logits_back', loss=OFFSETS
    ),
)
METHODS = dict(
    reviewkd=REVIEWKD,
    fgfi=FGFI,
    icd=dict(loss_icd=dict(tap='instances', loss=ICD)),
    box=BOX,
    fcfd=FCFD,
)
EVERY_METHOD = pytest.mark.parametrize('method', METHODS)


def build(teacher_section, terms, **changes):
    torch.manual_seed(0)
    model = MODELS.build(copy.deepcopy(distilled_config(teacher_section, terms, **changes)))
    model.init_weights()
    return model.train()


def losses_of(model, sizes=SIZES, seed=3, **batch):
    data = model.data_preprocessor(random_batch(sizes, **batch), True)
    torch.manual_seed(seed)
    return model.loss(data['inputs'], data['data_samples'])


def step(model, **batch):
    total, log = model.parse_losses(losses_of(model, **batch))
    model.zero_grad()
    total.backward()
    return log


# What holds for each method


@EVERY_METHOD
def test_every_term_trains_student_and_connectors_and_leaves_the_teacher_alone(
    teacher_section, method
):
    model = build(teacher_section, METHODS[method])
    teacher = model.distiller.teacher.module
    before = copy.deepcopy(teacher.state_dict())
    losses = losses_of(model)
    for name in METHODS[method]:
        assert losses[name] > 0, name
        model.zero_grad()
        losses[name].backward(retain_graph=True)
        grads = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
        moved = {n for n, grad in grads.items() if grad.any()}
        back = name.endswith('_back')  # the teacher's features: no way to the student's backbone
        assert any(n.startswith('backbone.') for n in moved) != back, name
        assert back == (not any(n.startswith('neck.') for n in moved))
    model.zero_grad()
    step(model)
    assert not [n for n, p in model.named_parameters() if p.grad is None]
    assert all(p.grad.isfinite().all() for p in model.parameters())
    # A bias on all keys moves no attention, and a norm takes out what a bias before it adds.
    still = [n for n, p in model.distiller.named_parameters() if not p.grad.any()]
    # These images are small: FGFI finds objects at two levels, RoIs are read from the first.
    idle = [f'loss_fgfi.connectors.{level}.' for level in (2, 3, 4)]
    idle += [f'loss_logits_back.connectors.{level}.' for level in (1, 2, 3)]
    idle += ['decoder.key.bias']
    assert [n for n in still if not any(part in n for part in idle)] == []
    assert not any(module.training for module in teacher.modules())
    assert not any(p.requires_grad or p.grad is not None for p in teacher.parameters())
    assert all(torch.equal(value, before[key]) for key, value in teacher.state_dict().items())


@EVERY_METHOD
@pytest.mark.parametrize(('sizes', 'boxes'), [([(64, 64)], 0), ([(33, 47), (90, 31)], 0)])
def test_images_without_objects_give_finite_losses_and_all_gradients(
    teacher_section, method, sizes, boxes
):
    model = build(teacher_section, METHODS[method])
    log = step(model, sizes=sizes, boxes=boxes)
    assert all(log[name].isfinite() for name in METHODS[method])
    assert not [n for n, p in model.named_parameters() if p.grad is None]
    assert all(p.grad.isfinite().all() for p in model.parameters())
    for name in ('loss_fgfi', 'loss_box_wkd'):
        assert log.get(name, 0) == 0  # nothing to imitate


@EVERY_METHOD
def test_the_students_own_losses_stay_the_same(teacher_section, method):
    plain = losses_of(build(teacher_section, {}))
    losses = losses_of(build(teacher_section, METHODS[method]))
    assert losses.keys() - plain.keys() == METHODS[method].keys()
    for name, value in plain.items():
        same = zip(value, losses[name]) if isinstance(value, list) else [(value, losses[name])]
        assert all(torch.equal(*pair) for pair in same), name


@EVERY_METHOD
def test_the_plain_student_loads_the_checkpoint(teacher_section, method):
    weights = build(teacher_section, METHODS[method]).state_dict()
    missing, unexpected = MODELS.build(tiny_faster_rcnn()).load_state_dict(weights, strict=False)
    assert missing == []
    assert all(key.startswith('distiller.') for key in unexpected)


@EVERY_METHOD
def test_mixed_precision_stays_finite_and_ends_in_float32(teacher_section, method):
    model = build(teacher_section, METHODS[method])
    wrapper = CPUAmpOptimWrapper(optimizer=torch.optim.SGD(model.parameters(), lr=0.01))
    with wrapper.optim_context(model):
        losses = losses_of(model)
        total, _ = model.parse_losses(losses)
    total.backward()
    assert all(losses[name].dtype == torch.float32 for name in METHODS[method])
    assert all(p.grad.isfinite().all() for p in model.parameters())


# The pyramid


def test_the_pyramid_is_one_comparison_of_all_levels(teacher_section):
    terms = dict(
        loss_levels=dict(tap='neck', connector=CONV, loss=dict(type='WKDFeatureLoss')),
        loss_pyramid=dict(tap='pyramid', connector=CONV, loss=dict(type='ReviewKDLoss', grids=[])),
        **REVIEWKD,
    )
    model = build(teacher_section, terms)
    pairs = {}
    for name, term in model.distiller.terms.items():
        term.register_forward_pre_hook(lambda _, given, name=name: pairs.update({name: given[0]}))
    losses_of(model)
    assert len(pairs['loss_levels']) == 5
    for name in ('loss_pyramid', 'loss_reviewkd'):
        (pair,) = pairs[name]
        shapes = [tuple(level.shape) for level in pair['teacher']]
        assert shapes == [tuple(level['teacher'].shape) for level in pairs['loss_levels']]
        assert [tuple(level.shape) for level in pair['student']] == shapes
        assert all(
            torch.equal(own, level['mask'])
            for own, level in zip(pair['mask'], pairs['loss_levels'])
        )
    assert len(model.distiller.terms['loss_pyramid'].connectors) == 5
    assert len(model.distiller.terms['loss_reviewkd'].connectors) == 1


def test_levels_of_the_pyramid_are_chosen(teacher_section):
    term = dict(REVIEWKD['loss_reviewkd'], levels=[1, 2])
    model = build(teacher_section, dict(loss_reviewkd=term))
    assert len(model.distiller.terms['loss_reviewkd'].connectors[0].inward) == 2
    assert losses_of(model)['loss_reviewkd'] > 0


# Near objects


def test_locations_near_an_object_by_hand():
    """One anchor of 8 x 8 a location, 4 pixels apart; overlaps in the order of the locations."""
    centres = torch.tensor([4.0, 8, 12, 16])
    anchors = torch.stack([centres - 4, 0 * centres, centres + 4, 0 * centres + 8], dim=1)
    box = torch.tensor([[0.0, 0, 8, 8]])
    # IoU 1, 1/3, 0, 0.
    assert bbox_overlaps(anchors, box)[:, 0].tolist() == pytest.approx([1, 1 / 3, 0, 0])
    for threshold, expected in ((0.5, 1), (0.3, 2), (0.0, 2)):
        (near,) = near_objects([anchors], [(1, 4)], box, threshold)
        assert near.shape == (1, 4)
        assert near.sum() == expected
    # Relative to the best: half as large a box has overlaps 1/2 and 1/5.
    (near,) = near_objects([anchors], [(1, 4)], torch.tensor([[0.0, 0, 8, 4]]), 0.5)
    assert near.tolist() == [[True, False, False, False]]


def test_an_object_is_near_at_the_levels_that_fit_it():
    small = torch.tensor([[0.0, 0, 8, 8], [8, 0, 16, 8]])
    large = torch.tensor([[0.0, 0, 32, 32]])
    sizes = [(1, 2), (1, 1)]
    first, second = near_objects([small, large], sizes, torch.tensor([[0.0, 0, 8, 8]]), 0.5)
    assert first.tolist() == [[True, False]]
    assert second.tolist() == [[False]]
    both = near_objects([small, large], sizes, torch.tensor([[8.0, 0, 16, 8], [0, 0, 30, 32]]), 0.5)
    assert [level.tolist() for level in both] == [[[False, True]], [[True]]]
    none = near_objects([small, large], sizes, torch.zeros(0, 4), 0.5)
    assert not any(level.any() for level in none)


def test_several_anchors_at_a_location_count_as_one():
    anchors = torch.tensor([[0.0, 0, 8, 8], [0, 0, 2, 2], [40, 40, 48, 48], [8, 0, 16, 8]])
    (near,) = near_objects([anchors], [(1, 2)], torch.tensor([[8.0, 0, 16, 8]]), 0.5)
    assert near.tolist() == [[False, True]]


def test_the_mask_is_near_objects_and_not_in_the_padding(teacher_section):
    model = build(teacher_section, FGFI)
    pairs = []
    model.distiller.terms['loss_fgfi'].register_forward_pre_hook(
        lambda _, given: pairs.extend(given[0])
    )
    losses_of(model)
    masks = pairs[0]['mask']
    assert [tuple(mask.shape) for mask in masks] == [
        (2, *level.shape[-2:]) for level in pairs[0]['teacher']
    ]
    share = sum(mask.sum() for mask in masks) / sum(mask.numel() for mask in masks)
    assert 0 < share < 0.5
    assert not masks[0][0, 24:].any()  # 96 of 128 pixels high
    assert not masks[0][1, :, 25:].any()


def test_imitation_needs_anchors_and_a_threshold(teacher_section):
    model = build(teacher_section, FGFI)
    model.rpn_head.prior_generator = object()
    tap = model.distiller.terms['loss_fgfi'].tap
    with pytest.raises(ValueError, match='imitation needs anchors: the DistilledFasterRCNN'):
        tap.bind(model, teacher_section['config'])
    term = dict(FGFI['loss_fgfi'], threshold=1.0)
    with pytest.raises(ValueError, match=r'threshold must lie in \[0, 1\), got 1.0'):
        build(teacher_section, dict(loss_fgfi=term))


# Boxes


def same_teacher(tmp_path, **changes):
    """A teacher with the student's very weights."""
    config = tiny_faster_rcnn(**changes)
    torch.manual_seed(0)
    model = MODELS.build(copy.deepcopy(config))
    model.init_weights()
    torch.save(model.state_dict(), tmp_path / 'same.pth')
    return dict(config=config, checkpoint=str(tmp_path / 'same.pth'))


def test_a_teacher_with_the_students_weights_costs_nothing(tmp_path):
    identity = dict(type='IdentityConnector')
    terms = dict(
        loss_offsets=dict(tap='roi_offsets', loss=OFFSETS),
        loss_there=dict(tap='crossed_offsets', head='teacher', connector=identity, loss=OFFSETS),
        loss_back=dict(tap='crossed_offsets', head='student', loss=OFFSETS),
        **BOX,
    )
    model = build(same_teacher(tmp_path), terms).eval()  # batch statistics as the teacher's
    losses = losses_of(model)
    for name in terms:
        # Equal offsets; 20 x 1e-6 over the area of a box are left of the boxes.
        assert losses[name].item() == pytest.approx(0, abs=1e-5), name


def test_boxes_are_those_of_the_target_class_of_sampled_objects(teacher_section):
    model = build(teacher_section, BOX)
    pairs, records = [], []
    term = model.distiller.terms['loss_box_wkd']
    term.register_forward_pre_hook(lambda _, given: pairs.extend(given[0]))
    original = term.tap.read
    term.tap.read = lambda student, *rest: (records.append(student), original(student, *rest))[1]
    losses_of(model)
    stage, (pair,) = records[0].stage(0), pairs
    rows = [row for row, label in enumerate(stage.labels.tolist()) if label < 4]
    assert 0 < len(rows) < len(stage.labels)
    decoder = model.roi_head.bbox_head.bbox_coder
    for index, row in enumerate(rows):
        start = 4 * stage.labels[row]
        offsets = stage.offsets[row, start : start + 4]
        assert torch.equal(pair['student'][index], offsets)
        box = decoder.decode(stage.rois[row : row + 1, 1:], offsets[None])
        assert torch.equal(pair['student_boxes'][index], box[0])
    assert pair['teacher_boxes'].shape == pair['student_boxes'].shape == (len(rows), 4)
    assert not pair['teacher_boxes'].requires_grad


def test_offsets_that_all_classes_share(tmp_path):
    def agnostic(**changes):
        config = tiny_faster_rcnn(**changes)
        config.roi_head.bbox_head.reg_class_agnostic = True
        return config

    teacher = agnostic(base_channels=12, fpn_channels=24)
    save_detector(teacher, tmp_path / 'teacher.pth')
    section = dict(config=teacher, checkpoint=str(tmp_path / 'teacher.pth'))
    terms = dict(loss_offsets=dict(tap='roi_offsets', loss=OFFSETS), **BOX)
    student = distilled_config(section, terms)
    student.roi_head.bbox_head.reg_class_agnostic = True
    model = MODELS.build(student)
    model.init_weights()
    losses = losses_of(model)
    assert losses['loss_offsets'] > 0
    assert losses['loss_box_wkd'] > 0
    message = "same coding .*'reg_class_agnostic': False.* student .*'reg_class_agnostic': True"
    with pytest.raises(ValueError, match=message):
        build(section, BOX)


def test_offsets_in_another_unit_are_refused(tmp_path):
    teacher = tiny_faster_rcnn()
    teacher.roi_head.bbox_head.bbox_coder.target_stds = (0.1, 0.1, 0.2, 0.2)
    save_detector(teacher, tmp_path / 'teacher.pth')
    section = dict(config=teacher, checkpoint=str(tmp_path / 'teacher.pth'))
    with pytest.raises(ValueError, match=r'\(1.0, 1.0, 1.0, 1.0\).* student .*\(0.1, 0.1, 0.2'):
        build(section, dict(loss_offsets=dict(tap='roi_offsets', loss=OFFSETS)))


# Through the other network's head


def test_crossed_outputs_are_those_of_the_head_on_the_projected_pyramid(teacher_section):
    model = build(teacher_section, FCFD)
    teacher = model.distiller.teacher.module
    records, pairs = [], {}
    for name, term in model.distiller.terms.items():
        term.register_forward_pre_hook(
            lambda _, given, name=name: pairs.update({name: given[0][0]})
        )
    term = model.distiller.terms['loss_app']
    original = term.tap.read
    term.tap.read = lambda *given: (records.append(given), original(*given))[1]
    losses_of(model)
    student, teacher_view, connectors = records[0]
    rois = student.stage(0).rois
    there = [student.projected('neck', level, connectors[level]) for level in range(4)]
    expected = teacher.roi_head._bbox_forward(there, rois)
    assert torch.equal(pairs['loss_logits_there']['student'], expected['cls_score'])
    assert torch.equal(pairs['loss_offsets_there']['student'], expected['bbox_pred'])
    own = teacher.roi_head._bbox_forward(teacher_view.maps('neck'), rois)
    for name in ('loss_logits_there', 'loss_logits_back'):
        assert torch.equal(pairs[name]['teacher'], own['cls_score'])
    bridge = model.distiller.terms['loss_logits_back'].connectors.eval()
    back = [connector(level) for connector, level in zip(bridge, teacher_view.maps('neck'))]
    shapes = [tuple(level.shape[1:2]) for level in back]
    assert shapes == [(16,)] * 4  # the student's width, the levels that RoIs are read from
    assert pairs['loss_logits_back']['student'].shape == own['cls_score'].shape


def test_nothing_runs_twice(teacher_section, monkeypatch):
    """One pass of each bridge and each head on each pyramid, whatever the number of terms."""
    model = build(teacher_section, FCFD)
    teacher = model.distiller.teacher.module
    calls = {'student': 0, 'teacher': 0}
    for owner, detector in (('student', model), ('teacher', teacher)):
        detector.roi_head.bbox_head.register_forward_hook(
            lambda *_, owner=owner: calls.update({owner: calls[owner] + 1})
        )
    norms = [
        term.connectors[0].conv.norm
        for name, term in model.distiller.terms.items()
        if name in ('loss_app', 'loss_logits_back')
    ]
    losses_of(model)
    assert calls == dict(student=2, teacher=2)
    assert [norm.num_batches_tracked.item() for norm in norms] == [1, 1]


def test_a_connector_on_roi_features_serves_all_levels_of_the_crossed_head(teacher_section):
    terms = dict(
        loss_wkd_f=dict(tap='roi_feats', roi_size=8, connector=CONV, loss=FEATURES),
        loss_there=dict(tap='crossed_logits', head='teacher', connector='loss_wkd_f', loss=LOGITS),
    )
    model = build(teacher_section, terms)
    (connector,) = model.distiller.terms['loss_wkd_f'].connectors
    assert model.distiller.terms['loss_there'].connectors == (connector,) * 4
    step(model)
    assert connector.conv.norm.num_batches_tracked == 4  # once a level
    terms['loss_wkd_f']['connector_at'] = 'roi'
    with pytest.raises(ValueError, match="works on RoIs: set connector_at='map'"):
        build(teacher_section, terms)


def test_a_moving_average_shares_connectors_within_itself(teacher_section):
    model = build(teacher_section, FCFD)
    terms = ExponentialMovingAverage(model).module.distiller.terms
    assert terms['loss_logits_there'].connectors[0] is terms['loss_app'].connectors[0]
    assert terms['loss_app'].connectors[0] is not model.distiller.terms['loss_app'].connectors[0]


@pytest.mark.parametrize(
    ('terms', 'error', 'message'),
    [
        (
            dict(loss_x=dict(tap='crossed_logits', head='both', connector=CONV, loss=LOGITS)),
            ValueError,
            r"head must be one of \('teacher', 'student'\), got 'both'",
        ),
        (
            dict(FCFD, loss_app=dict(FCFD['loss_app'], levels=[0, 1])),
            ValueError,
            r'loss_logits_there.connector: distill.loss_app: its levels are \[0, 1\], not 2',
        ),
        (
            dict(FCFD, loss_app=REVIEWKD['loss_reviewkd']),
            ValueError,
            'distill.loss_app: ABFConnector works on all levels at once',
        ),
        (
            dict(loss_x=dict(tap='instances', connector=CONV, loss=ICD)),
            ValueError,
            'compares no feature maps',
        ),
        (
            dict(loss_x=dict(tap='roi_boxes', loss=OFFSETS)),
            ValueError,
            "'roi_boxes' yields boxes, but OffsetLoss takes offsets",
        ),
    ],
)
def test_wrong_sections_say_what_is_valid(teacher_section, terms, error, message):
    with pytest.raises(error, match=message):
        build(teacher_section, terms)


def test_rois_from_other_strides_are_refused(teacher_section):
    model = build(teacher_section, FCFD)
    model.roi_head.bbox_roi_extractor.featmap_strides = [4, 8, 16]
    tap = model.distiller.terms['loss_logits_there'].tap
    with pytest.raises(ValueError, match=r'same strides, got \[4, 8, 16\] in the student'):
        tap.bind(model, teacher_section['config'])


def test_classes_of_the_teacher_in_another_order(teacher_section, tmp_path, monkeypatch):
    """The rows of its head permuted with their names: every loss stays what it was."""
    names = ['ant', 'bee', 'cat', 'dog']
    monkeypatch.setattr('wkd_det.distillation.classes.training_class_names', lambda: names)
    order = [2, 0, 3, 1]
    checkpoint = torch.load(teacher_section['checkpoint'], weights_only=True)
    weights = checkpoint['state_dict']
    for part in ('weight', 'bias'):
        key = f'roi_head.bbox_head.fc_cls.{part}'
        weights[key] = weights[key][[*order, 4]]
        key = f'roi_head.bbox_head.fc_reg.{part}'
        weights[key] = weights[key].unflatten(0, (4, 4))[order].flatten(0, 1)
    checkpoint['meta']['dataset_meta']['classes'] = [names[index] for index in order]
    torch.save(checkpoint, tmp_path / 'permuted.pth')
    terms = dict(FCFD, **BOX)
    expected = losses_of(build(teacher_section, terms))
    permuted = dict(teacher_section, checkpoint=str(tmp_path / 'permuted.pth'))
    got = losses_of(build(permuted, terms))
    for name in terms:
        torch.testing.assert_close(got[name], expected[name])


def test_offsets_of_a_teacher_whose_classes_do_not_matter_are_refused(teacher_section):
    section = dict(teacher_section, classes='any')
    with pytest.raises(ValueError, match='distill.loss_box_wkd compares boxes'):
        build(section, BOX)


MODULE_TAPS = dict(
    loss_layer=dict(tap='backbone.layer3', connector=CONV, loss=FEATURES),
    loss_lateral=dict(tap='neck.lateral_convs.1', connector=CONV, loss=FEATURES),
    loss_fc=dict(tap='roi_head.bbox_head.fc_reg', loss=dict(type='FitNetLoss')),
)


def test_any_module_of_a_detector_is_a_tap(teacher_section):
    """Outputs are those that the modules return in the one pass of each network."""
    model = build(teacher_section, MODULE_TAPS)
    teacher = model.distiller.teacher.module
    seen, given = {}, {}
    for owner, network in (('student', model), ('teacher', teacher)):
        for term in model.distiller.terms.values():
            name = term.tap.student_modules[0]
            network.get_submodule(name).register_forward_hook(
                lambda _, args, output, key=(owner, name): seen.setdefault(key, []).append(output)
            )
    for name, term in model.distiller.terms.items():
        term.register_forward_pre_hook(lambda _, args, name=name: given.update({name: args[0][0]}))
    losses = losses_of(model)
    assert all(len(outputs) == 1 for outputs in seen.values())  # nothing runs twice
    for name, term in model.distiller.terms.items():
        assert losses[name] > 0
        (output,) = seen['teacher', term.tap.student_modules[0]]
        target = given[name]['teacher']
        assert torch.equal(target.flatten(1), output.flatten(1))
        assert given[name]['student'].shape == target.shape
    assert 'mask' in given['loss_layer']  # padding of the smaller image
    assert 'mask' not in given['loss_fc']
    total = sum(losses[name] for name in MODULE_TAPS)
    total.backward()
    assert model.backbone.layer3[0].downsample[0].weight.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ('term', 'error', 'message'),
    [
        (
            dict(tap='backbone.layr3', loss=FEATURES),
            KeyError,
            r"distill.loss_x.tap must be one of .*'roi_logits'.*, got 'backbone.layr3', and no "
            "module has that name: got 'backbone.layr3'; near matches are backbone.layer3",
        ),
        (
            dict(tap='rpn_head.rpn_conv', connector=CONV, loss=FEATURES),
            ValueError,
            "the module 'rpn_head.rpn_conv' runs 5 times in a pass, once per level or stage: tap "
            'a module that runs once',
        ),
        (
            dict(tap='backbone.layer3', teacher_tap='backbone.layer9', loss=FEATURES),
            KeyError,
            "the teacher FasterRCNN has no such module: got 'backbone.layer9'; near matches are",
        ),
        (
            dict(tap='backbone', loss=FEATURES, teacher_tap='backbone.layer3'),
            KeyError,
            "unknown keys .'teacher_tap'.",
        ),
        (
            dict(tap='roi_head.mask', loss=FEATURES),
            KeyError,
            'no module has that name',
        ),
        (
            dict(tap='backbone.layer3', widths=[3], loss=FEATURES),
            ValueError,
            r'widths must be two numbers of channels, got \[3\]',
        ),
    ],
)
def test_module_taps_that_cannot_be(teacher_section, term, error, message):
    with pytest.raises(error, match=message):
        build(teacher_section, dict(loss_x=term))


def test_a_module_that_an_empty_image_does_not_reach_needs_widths(teacher_section):
    term = dict(
        tap='roi_head.bbox_roi_extractor',
        connector=dict(type='ConvConnector'),
        loss=FEATURES,
    )
    with pytest.raises(ValueError, match='is not reached by an empty image, .* set widths=\\('):
        build(teacher_section, dict(loss_x=term))
    model = build(teacher_section, dict(loss_x=dict(term, widths=(16, 24))))
    assert losses_of(model)['loss_x'] > 0


@pytest.mark.parametrize('level', range(4))
def test_one_level_imitates_objects_that_other_anchors_would_fit_better(teacher_section, level):
    """The paper has one map, so no object may go without."""
    model = build(teacher_section, dict(loss_fgfi=dict(FGFI['loss_fgfi'], levels=[level])))
    assert losses_of(model, sizes=[(96, 96)], boxes=1)['loss_fgfi'] > 0
