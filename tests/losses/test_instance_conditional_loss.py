"""ICD: what each part learns from, the decoder against torch's own, invented instances."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from torch.testing import assert_close

from wkd_det.losses import ICDLoss
from wkd_det.losses.icd import InstanceDecoder
from wkd_det.losses.icd_queries import InstanceEncoder, Instances, InstanceSampler

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


# Who learns from what


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
    decoded, attention, values = decoder(queries, features, positions, outside)
    found = F.scaled_dot_product_attention(
        decoder.heads(decoder.query(queries)),
        decoder.heads(decoder.key(features) + decoder.position(positions)),
        values,
        attn_mask=~outside[:, None, None],
    )
    found = decoder.out(found.transpose(1, 2).reshape(2, 3, 16))
    middle = decoder.attention_norm(queries + found)
    assert_close(decoded, decoder.norm(middle + decoder.feed_forward(middle)), rtol=1e-4, atol=1e-5)
    assert_close(attention.sum(3), torch.ones(2, 2, 3))
    assert not attention[0, :, :, 4:].any()
    assert values.shape == (2, 2, 7, 8)


def test_true_instances_come_first_and_invented_ones_follow():
    sampler = InstanceSampler(4, ratio=5.0, limit=10, jitter=0.3)
    boxes = [torch.tensor([[16.0, 8, 32, 24]]), torch.zeros(0, 4)]
    labels = [torch.tensor([3]), torch.zeros(0, dtype=torch.long)]
    got = sampler(boxes, labels, [(64, 32), (64, 64)])
    assert got.true.tolist() == [[1, 0, 0, 0, 0, 0], [0] * 6]
    assert got.valid.tolist() == [[1] * 6, [1, 0, 0, 0, 0, 0]]
    assert got.labels[0, 0] == 3
    assert got.extents[0, 0].tolist() == [16, 16]
    left, top, right, bottom = got.sides[0, 0].tolist()
    assert left + right == pytest.approx(0.5)
    assert top + bottom == pytest.approx(0.25)
    # Half a box, and at most 0.3 of it away from the centre.
    assert abs(left - right) <= 2 * 0.3 * 0.5
    assert abs(top - bottom) <= 2 * 0.3 * 0.25
    inside = torch.cat([got.points - got.sides[..., :2], got.points + got.sides[..., 2:]], 2)
    assert inside.min() >= -1e-6
    assert inside.max() <= 1 + 1e-6


def test_the_limit_leaves_no_object_out():
    sampler = InstanceSampler(4, ratio=5.0, limit=3, jitter=0.0)
    for count, total in ((1, 3), (5, 5)):
        boxes = torch.tensor([[0.0, 0, 8, 8]]).repeat(count, 1)
        got = sampler([boxes], [torch.zeros(count, dtype=torch.long)], [(64, 64)])
        assert got.valid.sum() == total
        assert got.true.sum() == count
        assert_close(got.points[0, 0], torch.tensor([4 / 64, 4 / 64]))  # no jitter


def test_a_query_knows_class_place_and_octave():
    encoder = InstanceEncoder(num_classes=3, width=8)
    seen = []
    encoder.layers.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    ones = torch.ones(1, 1)
    for extent, octave in ((0.0, 0), (63, 0), (64, 1), (128, 2), (500, 3), (5000, 4)):
        encoder(
            Instances(
                labels=torch.tensor([[2]]),
                points=torch.tensor([[[0.25, 0.5]]]),
                extents=torch.tensor([[[extent, 40.0]]]),
                sides=torch.zeros(1, 1, 4),
                valid=ones,
                true=ones,
            )
        )
        row = seen[-1][0, 0]
        assert row[:3].tolist() == [0, 0, 1]
        assert row[3] == pytest.approx(1)  # sin(2 pi / 4)
        assert row[3 + 64] == pytest.approx(0, abs=1e-6)  # its cosine
        assert row[3 + 128] == pytest.approx(0, abs=1e-6)  # sin(2 pi / 2)
        assert row[-10:-5].argmax() == octave
        assert row[-10:].sum() == 2


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(num_heads=3), 'multiple of num_heads, got 16 and 3'),
        (dict(max_instances=0), 'max_instances must be an integer of at least 1, got 0'),
        (dict(jitter=-0.1), 'jitter must not be negative, got -0.1'),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        ICDLoss(**dict(TINY, **arguments))
