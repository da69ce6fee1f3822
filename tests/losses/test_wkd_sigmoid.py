"""WKD-L of sigmoids: its histograms, two bins in closed form, POT, gradients, memory, module."""

from __future__ import annotations

import itertools
import math

import ot
import pytest
import torch
from mmdet.registry import MODELS
from torch.testing import assert_close

from wkd_det.functional import wkd_logit_loss, wkd_sigmoid_loss
from wkd_det.losses import WKDSigmoidLoss
from wkd_det.losses.wkd_sigmoid import background_distances
from wkd_det.ops.logits import with_background


def logits(places=6, classes=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(2, places, classes, generator=generator, dtype=torch.float64)


def costs(classes=5, background=1.0, seed=1):
    """Distances of points, with background."""
    generator = torch.Generator().manual_seed(seed)
    points = torch.rand(classes, 3, generator=generator, dtype=torch.float64)
    distance = torch.cdist(points, points).fill_diagonal_(0)
    return background_distances((distance + distance.T) / 4, background)


def test_histograms_are_independent_events_of_which_at_most_one_occurs():
    """Every combination of events, weighed by its probability; those of two and more left out."""
    own = logits(1, 4)[0][0]
    p = own.sigmoid()
    mass = torch.zeros(5, dtype=torch.float64)
    for events in itertools.product((0, 1), repeat=4):
        there = torch.tensor(events, dtype=torch.bool)
        if there.sum() <= 1:
            index = int(there.nonzero()) if there.any() else 4
            mass[index] += torch.where(there, p, 1 - p).prod()
    assert_close(with_background(own[None]).softmax(dim=1)[0], mass / mass.sum())


def two_bins(p, q, c, epsilon):
    """Cost of the entropic plan between (p, 1 - p) and (q, 1 - q), as the docstring has it."""
    kappa = math.exp(-2 * c / epsilon)
    b = p + q + kappa * (1 - p - q)
    a = (b - math.sqrt(b * b - 4 * (1 - kappa) * p * q)) / (2 * (1 - kappa))
    return c * (p + q - 2 * a)


@pytest.mark.parametrize('epsilon', [2.0, 0.5, 0.1, 0.04])
@pytest.mark.parametrize(('p', 'q'), [(0.9, 0.2), (0.5, 0.5), (0.01, 0.6), (0.3, 0.35)])
def test_closed_form_of_two_bins(p, q, epsilon):
    pair = (torch.tensor([[z]], dtype=torch.float64).logit() for z in (p, q))
    cost = background_distances(torch.zeros(1, 1, dtype=torch.float64), 0.7)
    value = wkd_sigmoid_loss(*pair, cost, epsilon=epsilon, num_iters=3000, log_domain=True)
    assert value.item() == pytest.approx(two_bins(p, q, 0.7, epsilon), rel=1e-6, abs=1e-9)


def test_limit_of_two_bins():
    pair = (torch.tensor([[z]], dtype=torch.float64).logit() for z in (0.9, 0.2))
    cost = background_distances(torch.zeros(1, 1, dtype=torch.float64), 0.7)
    value = wkd_sigmoid_loss(*pair, cost, epsilon=0.01, num_iters=500, log_domain=True)
    assert value.item() == pytest.approx(0.7 * 0.7, rel=1e-6)


def test_limit_is_that_of_the_exact_solver():
    student, teacher = logits(4)
    cost = costs()
    exact = [
        ot.emd2(one.numpy(), other.numpy(), cost.numpy())
        for one, other in zip(*(with_background(z).softmax(1) for z in (student, teacher)))
    ]
    previous = math.inf
    for epsilon in (0.2, 0.05, 0.01):
        value = wkd_sigmoid_loss(
            student, teacher, cost, epsilon=epsilon, num_iters=2000, log_domain=True
        ).item()
        assert sum(exact) / 4 - 1e-6 <= value < previous
        previous = value
    # The entropic plan is off by about epsilon times the logarithm of the number of bins.
    assert previous == pytest.approx(sum(exact) / 4, abs=0.01 * math.log(6))


def test_it_is_the_joint_form_of_wkd_l_beside_a_logit_of_0():
    student, teacher = logits()
    joined = [torch.cat([z, torch.zeros(6, 1)], dim=1) for z in (student, teacher)]
    for options in (dict(temperature=2.0), dict(debiased=True), dict(log_domain=True)):
        options.update(epsilon=0.1, num_iters=7)
        expected = wkd_logit_loss(*joined, costs(), **{'temperature': 1.0, **options})
        assert_close(wkd_sigmoid_loss(student, teacher, costs(), **options), expected)


def test_close_classes_are_confused_more_cheaply_and_background_is_reached():
    near = background_distances(torch.tensor([[0.0, 0.2], [0.2, 0.0]]), 1.0)
    one, other, none = torch.tensor([[[9.0, -9.0]], [[-9.0, 9.0]], [[-9.0, -9.0]]])
    assert wkd_sigmoid_loss(one, other, near).item() == pytest.approx(0.2, abs=2e-3)
    assert wkd_sigmoid_loss(one, none, near).item() == pytest.approx(1.0, abs=2e-3)
    assert wkd_sigmoid_loss(none, none, near).item() == pytest.approx(0, abs=2e-3)


@pytest.mark.parametrize('options', [{}, dict(debiased=True), dict(log_domain=True)])
def test_gradcheck_and_no_gradient_for_the_teacher(options):
    student, teacher = logits(3)
    weight = torch.tensor([0.5, 2.0, 0.0], dtype=torch.float64)
    student.requires_grad_()
    teacher.requires_grad_()

    def value(own):
        return wkd_sigmoid_loss(
            own, teacher.detach(), costs(), weight=weight, avg_factor=1.5, epsilon=0.2, **options
        )

    assert torch.autograd.gradcheck(value, student)
    wkd_sigmoid_loss(student, teacher, costs(), **options).backward()
    assert teacher.grad is None


def test_no_places_far_logits_and_half_precision():
    nothing = torch.zeros(0, 5, requires_grad=True)
    loss = WKDSigmoidLoss(cost=costs()[:5, :5])
    value = loss(nothing, nothing.detach(), avg_factor=torch.tensor(1.0))
    value.backward()
    assert value == 0
    assert nothing.grad.shape == (0, 5)
    far = torch.tensor([[6e4, -6e4, 6e4, 0.0, 1.0]], dtype=torch.float16, requires_grad=True)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        value = loss(far, -far.detach())
    value.backward()
    assert value.dtype == torch.float32
    assert value.isfinite()
    assert far.grad.isfinite().all()


def test_no_tensor_of_places_times_classes_times_classes():
    places, classes = 300, 40
    largest = 0

    class Sizes(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            nonlocal largest
            out = func(*args, **(kwargs or {}))
            if isinstance(out, torch.Tensor):
                largest = max(largest, out.untyped_storage().nbytes() // out.element_size())
            return out

    student, teacher = (one.float() for one in logits(places, classes))
    loss = WKDSigmoidLoss(cost=1 - torch.eye(classes), num_iters=10)
    with Sizes():
        loss(student.requires_grad_(), teacher).backward()
    rounds = 20 * (classes + 1)  # of all rounds at once
    assert largest <= places * rounds < places * classes**2


# Module


def test_module():
    student, teacher = logits()
    distance = costs()[:5, :5]
    loss = WKDSigmoidLoss(
        cost=distance, sharpness=2.0, background_distance=0.8, temperature=2.0, loss_weight=3.0
    )
    sharpened = 1 - (-2 * background_distances(distance, 0.8)).exp()
    expected = wkd_sigmoid_loss(student, teacher, sharpened.float(), temperature=2.0)
    assert_close(loss(student, teacher), 3 * expected)
    weight = torch.rand(6, dtype=torch.float64)
    given = dict(weight=weight, avg_factor=2.0)
    weighed = wkd_sigmoid_loss(student, teacher, sharpened.float(), temperature=2.0, **given)
    assert_close(loss(student, teacher, **given), 3 * weighed)
    assert list(loss.state_dict()) == ['transport.cost']
    assert loss.takes == 'dense_logits'
    assert loss.needs == ()


def test_costs_come_when_training_starts():
    loss = MODELS.build(dict(type='WKDSigmoidLoss', cost=dict(type='ConstantCost')))
    assert loss.distance_source is not None
    loss.reserve(4)
    assert loss.state_dict()['transport.cost'].shape == (5, 5)
    with pytest.raises(RuntimeError, match='no class cost yet'):
        loss(*(one.float() for one in logits(2, 4)))
    loss.set_distance(1 - torch.eye(4))
    assert loss(*(one.float() for one in logits(2, 4))) > 0
    with pytest.raises(ValueError, match='6 classes'):
        loss.reserve(5)


def test_errors():
    with pytest.raises(ValueError, match='background_distance must not be negative, got -1'):
        WKDSigmoidLoss(cost=1 - torch.eye(3), background_distance=-1)
    with pytest.raises(ValueError, match=r'cost must have the shape .* \(6, 6\), got \(5, 5\)'):
        wkd_sigmoid_loss(*logits(), 1 - torch.eye(5))
    with pytest.raises(TypeError, match='^cost must be a tensor, got '):
        wkd_sigmoid_loss(*logits(), [[0.0]])
    with pytest.raises(TypeError, match='cost must be a dict with a type or a tensor'):
        WKDSigmoidLoss(cost=3)
