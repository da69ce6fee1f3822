"""ICD: what each part learns from, the decoder against torch's own, the attended difference."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from torch.testing import assert_close

from benchmarks.memory import peak_extra_bytes
from precision import AUTOCAST
from wkd_det.losses.icd import ICDLoss, InstanceDecoder, attended_loss, grid_code
from wkd_det.losses.icd_queries import Instances

SIZES = [(64, 48), (64, 64)]
TINY = dict(num_classes=4, student_channels=3, teacher_channels=5, width=16, num_heads=2)


def loss_module(**changes):
    torch.manual_seed(0)
    return MODELS.build(dict(type='ICDLoss', **dict(TINY, **changes)))


def batch(counts=(2, 1), dtype=torch.float32):
    generator = torch.Generator().manual_seed(1)

    def pyramid(channels):
        shapes = ((2, channels, 8, 8), (2, channels, 4, 4))
        return [
            torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)
            for shape in shapes
        ]

    corners = torch.rand(2, 4, 2, generator=generator, dtype=torch.float64).to(dtype) * 20
    boxes = [torch.cat([part, part + 15], 1)[:count] for part, count in zip(corners, counts)]
    labels = [torch.arange(count) for count in counts]
    mask = [torch.ones(2, size, size, dtype=torch.bool) for size in (8, 4)]
    mask[0][0, :, 6:] = False
    mask[1][0, :, 3:] = False
    return dict(
        student=pyramid(3), teacher=pyramid(5), boxes=boxes, labels=labels, image_sizes=SIZES,
        mask=mask,
    )  # fmt: skip


def value(module, given, seed=0):
    torch.manual_seed(seed)
    return module(**given)


# Gradients of each part


def test_the_student_and_its_projection_learn_from_the_first_part_alone():
    given = batch()
    for level in (*given['student'], *given['teacher']):
        level.requires_grad_()
    module = loss_module(auxiliary_weight=0.0)
    value(module, given).backward()
    moved = {name for name, p in module.named_parameters() if p.grad is not None and p.grad.any()}
    # A bias moves all channels of a head alike or not at all, so the normalisation leaves some.
    assert moved == {'student_value.weight', 'student_value.bias'}
    assert all(level.grad.abs().sum() > 0 for level in given['student'])
    assert all(level.grad is None for level in given['teacher'])


def test_the_decoder_learns_from_the_auxiliary_task_alone():
    given = batch()
    for level in given['student']:
        level.requires_grad_()
    module = loss_module(loss_weight=0.0)
    value(module, given).backward()
    still = {name for name, p in module.named_parameters() if p.grad is None or not p.grad.any()}
    # The same bias on all keys changes no attention (to rounding it may).
    assert still - {'decoder.key.bias'} == {'student_value.weight', 'student_value.bias'}
    assert not any(level.grad.any() for level in given['student'])


@pytest.mark.parametrize('counts', [(2, 1), (0, 1), (0, 0)])
def test_every_parameter_gets_a_finite_gradient_with_or_without_objects(counts):
    given, module = batch(counts), loss_module()
    loss = value(module, given)
    loss.backward()
    assert loss.isfinite()
    assert not [name for name, p in module.named_parameters() if p.grad is None]
    assert all(p.grad.isfinite().all() for p in module.parameters())
    if counts == (0, 0):
        assert not module.student_value.weight.grad.any()


def test_both_parts_and_their_weights_add_up():
    given = batch()
    first, second = (
        value(loss_module(loss_weight=a, auxiliary_weight=b), given) for a, b in ((1, 0), (0, 1))
    )
    both = value(loss_module(loss_weight=3.0, auxiliary_weight=0.5), given)
    assert_close(both, 3 * first + 0.5 * second)
    assert loss_module().loss_weight == 3.0  # published for Faster R-CNN


def test_a_student_that_gives_the_teachers_values_has_nothing_to_learn():
    given = batch()
    module = loss_module(student_channels=5, auxiliary_weight=0.0)
    module.student_value.load_state_dict(module.decoder.value.state_dict())
    assert value(module, dict(given, student=given['teacher'])) == 0


@pytest.mark.parametrize('filling', [1e4, float('inf'), float('nan')])
def test_padding_does_not_count(filling):
    given, module = batch(), loss_module()
    expected = value(module, given)
    for side in ('student', 'teacher'):
        for level, inside in zip(given[side], given['mask']):
            level.permute(0, 2, 3, 1)[~inside] = filling
    assert value(module, given) == expected


def test_without_a_mask_every_pixel_counts():
    given, module = batch(), loss_module()
    full = [torch.ones_like(level) for level in given['mask']]
    assert value(module, dict(given, mask=None)) == value(module, dict(given, mask=full))


def test_gradcheck():
    given = batch(dtype=torch.float64)
    given = dict(given, **{name: given[name][1:] for name in ('student', 'teacher', 'mask')})
    module = loss_module().double()
    maps = [level.requires_grad_() for level in given['student']]
    assert torch.autograd.gradcheck(
        lambda *student: value(module, dict(given, student=student)), maps
    )


def test_autocast_does_not_reach_it():
    given, module = batch(), loss_module()
    expected = value(module, given)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert value(module, given) == expected


# Blocks


def value_gradients_and_random_state(module, given):
    maps = [level.detach().clone().requires_grad_() for level in given['student']]
    loss = value(module, dict(given, student=maps))
    drawn = torch.rand(1)
    gradients = torch.autograd.grad(loss, [*maps, *module.parameters()])
    return loss.detach(), drawn, *gradients


@pytest.mark.parametrize('elements', [1, 80, 3 * 80, 10 * 80], ids='blocks of {}'.format)
@pytest.mark.parametrize('counts', [(2, 1), (0, 3), (0, 0)])
def test_blocks_change_neither_value_nor_gradient_nor_what_is_drawn(monkeypatch, elements, counts):
    given, module = batch(counts, dtype=torch.float64), loss_module().double()
    whole = value_gradients_and_random_state(module, given)
    monkeypatch.setattr('wkd_det.ops.attention._BLOCK_ELEMENTS', elements)
    in_blocks = value_gradients_and_random_state(module, given)
    assert torch.equal(in_blocks[1], whole[1])
    for one, other in zip(in_blocks, whole):
        assert_close(one, other, rtol=1e-10, atol=1e-12)  # sums over queries in other parts


def peak_of_a_step(objects):
    module = loss_module(num_classes=4, student_channels=8, teacher_channels=8, max_instances=200)
    sizes = ((64, 64), (32, 32))
    maps = [torch.randn(2, 8, *size) for size in sizes]
    corners = torch.rand(2, objects, 2) * 200
    boxes = [torch.cat([part, part + 30], dim=1) for part in corners]
    labels = [torch.arange(objects) % 4] * 2
    given = dict(
        student=maps, teacher=maps, boxes=boxes, labels=labels, image_sizes=[(256, 256)] * 2
    )
    return peak_extra_bytes(lambda: value(module, given).backward())


def test_memory_does_not_grow_with_the_objects(monkeypatch):
    """6 and 120 queries per image; all attention of the latter would be 9.8 MB."""
    monkeypatch.setattr('wkd_det.ops.attention._BLOCK_ELEMENTS', 2**15)
    few, many = peak_of_a_step(1), peak_of_a_step(20)
    attention = 4 * 2 * 2 * 120 * (64 * 64 + 32 * 32)
    assert many - few < attention / 20


@pytest.mark.parametrize('dtype', AUTOCAST)
def test_backward_inside_autocast_gives_every_parameter_its_gradient(dtype):
    given, module = batch(), loss_module()
    gradients = []
    for enabled in (False, True):
        module.zero_grad()
        loss = value(module, given)
        with torch.autocast('cpu', dtype=dtype, enabled=enabled):
            loss.backward()
        gradients.append({name: p.grad for name, p in module.named_parameters()})
    for name, gradient in gradients[0].items():
        assert torch.equal(gradients[1][name], gradient), name


# Its parts


def test_identification_and_localisation_by_hand():
    """One true instance, one invented, one of padding; a predictor that says nothing."""
    module = loss_module()
    for parameter in module.predictor.parameters():
        parameter.data.zero_()
    queried = Instances(
        labels=torch.zeros(1, 3, dtype=torch.long),
        points=torch.zeros(1, 3, 2),
        extents=torch.ones(1, 3, 2),
        sides=torch.tensor([[[0.1, 0.2, 0.3, 0.2], [0.3, 0.3, 0.3, 0.3], [0.0, 0, 0, 0]]]),
        valid=torch.tensor([[1.0, 1, 0]]),
        true=torch.tensor([[1.0, 0, 0]]),
    )
    # Probability 1/2 either way: log 2. Sides of 1/2: 0.4 and 0.2 of a box 0.4 wide and high,
    # and 0.3 twice.
    expected = math.log(2) + (0.4 + 0.2 + 0.3 + 0.3) / 0.4
    got = module._auxiliary_loss(torch.zeros(1, 3, 16), queried)
    assert got.item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize('padded', [False, True])
@pytest.mark.parametrize('width', [4, 32, 256])
def test_codes_of_positions_are_those_of_mmdetection_bit_for_bit(width, padded):
    outside = torch.zeros(2, 7, 9, dtype=torch.bool)
    if padded:
        outside[0, :, 5:] = outside[1, 3:] = True
    config = dict(type='SinePositionalEncoding', num_feats=width // 2, normalize=True)
    assert torch.equal(grid_code(outside, width), MODELS.build(config)(outside))


def test_the_decoder_attends_as_torch_does():
    torch.manual_seed(0)
    decoder = InstanceDecoder(channels=5, width=16, num_heads=2)
    queries, features, positions = (
        torch.randn(2, 3, 16),
        torch.randn(2, 7, 5),
        torch.randn(2, 7, 16),
    )
    outside = torch.zeros(2, 7, dtype=torch.bool)
    outside[0, 4:] = True
    counted = torch.tensor([[1.0, 1, 0], [1, 1, 1]])
    decoded, attended, values = decoder(queries, features, positions, outside, counted)
    found = F.scaled_dot_product_attention(
        decoder.heads(decoder.query(queries)),
        decoder.heads(decoder.key(features) + decoder.position(positions)),
        values,
        attn_mask=~outside[:, None, None],
    )
    found = decoder.out(found.transpose(1, 2).reshape(2, 3, 16))
    middle = decoder.attention_norm(queries + found)
    assert_close(decoded, decoder.norm(middle + decoder.feed_forward(middle)), rtol=1e-4, atol=1e-5)
    assert_close(attended.sum(2), torch.tensor([[2.0, 2], [3, 3]]))
    assert not attended[0, :, 4:].any()
    assert values.shape == (2, 2, 7, 8)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(num_heads=3), 'width must be a multiple of 4 and of num_heads, got 16 and 3'),
        (dict(width=6), 'width must be a multiple of 4 and of num_heads, got 6 and 2'),
        (dict(loss_weight=-1), 'loss_weight must not be negative, got -1'),
        (dict(auxiliary_weight=-1), 'auxiliary_weight must not be negative, got -1'),
        (dict(invented_ratio=-1), 'invented_ratio must not be negative, got -1'),
        (dict(max_instances=0), 'max_instances must be an integer of at least 1, got 0'),
        (dict(jitter=-0.1), 'jitter must not be negative, got -0.1'),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        ICDLoss(**dict(TINY, **arguments))


# The attended difference


def values(shape=(2, 3, 4, 5), dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, *shape, generator=generator, dtype=torch.float64).to(dtype)
    attention = torch.rand(shape[:3], generator=generator, dtype=torch.float64).to(dtype)
    return student, teacher, attention


def test_two_pixels_by_hand():
    """Two channels normalise to +1 and -1: equal at the first pixel, opposite at the second."""
    student = torch.tensor([[[[1.0, 0.0], [9.0, 1.0]]]], dtype=torch.float64)
    teacher = torch.tensor([[[[7.0, 2.0], [0.0, 3.0]]]], dtype=torch.float64)
    attention = torch.tensor([[[3.0, 1.0]]], dtype=torch.float64)
    loss = attended_loss(student, teacher, attention)
    # 1e-5 is added to the variance, 1/4 at the smallest.
    assert_close(loss, torch.tensor(4 * 1 / (3 + 1)).double(), rtol=1e-4, atol=0)


def test_attended_is_the_weighted_mean_square_of_the_normalised_values():
    student, teacher, attention = values()
    difference = (F.layer_norm(student, (5,)) - F.layer_norm(teacher, (5,))).square()
    share = attention / attention.sum(2, keepdim=True)
    expected = (share[..., None] * difference).sum(2).mean()
    assert_close(attended_loss(student, teacher, attention), expected)


def test_the_scale_of_attention_and_values_does_not_matter():
    student, teacher, attention = values()
    expected = attended_loss(student, teacher, attention)
    # 1e-5 is added to the variances.
    assert_close(
        attended_loss(100 * student + 7, teacher, 5 * attention), expected, rtol=1e-3, atol=0
    )


def test_where_nothing_is_attended_it_is_zero_with_a_graph():
    student, teacher, attention = values()
    student.requires_grad_()
    loss = attended_loss(student, teacher, 0 * attention)
    assert loss == 0
    loss.backward()
    assert student.grad.abs().max() == 0


def test_attended_gradcheck_and_gradients_for_the_student_alone():
    student, teacher, attention = (value.requires_grad_() for value in values((1, 2, 3, 4)))
    assert torch.autograd.gradcheck(lambda s: attended_loss(s, teacher, attention), student)
    attended_loss(student, teacher, attention).backward()
    assert teacher.grad is None
    assert attention.grad is None


def test_attended_in_half_precision_is_promoted():
    student, teacher, attention = values(dtype=torch.bfloat16)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert attended_loss(student, teacher, attention).dtype == torch.float32


def test_errors_of_the_attended_difference_name_both_shapes():
    student, teacher, attention = values()
    with pytest.raises(
        ValueError, match=r'shape \(N, M, S, D\), got \(2, 3, 4, 5\) and \(2, 3, 4\)'
    ):
        attended_loss(student, teacher[..., 0], attention)
    with pytest.raises(ValueError, match=r'attention must .* = \(2, 3, 4\), got \(2, 4, 4\)'):
        attended_loss(student, teacher, attention.new_zeros(2, 4, 4))
