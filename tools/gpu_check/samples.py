"""Inputs of every loss of the registry, which move to any device and type of numbers."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from wkd_det import losses
from wkd_det.functional import (
    FEATURE_DISTANCES,
    cosine_interrelation,
    interrelation_to_cost,
)

_EXACT_KEYS = ('boxes', 'student_boxes', 'teacher_boxes')
"""Inputs that no network gives, in float32 also under mixed precision."""


class Sample(NamedTuple):
    """A loss with inputs, all on the CPU in float32.

    Values of networks are numbers of bfloat16, which float16 holds too: every precision reads the
    same.
    """

    loss: Callable[..., Tensor]
    inputs: dict[str, Any]
    leaf: str = 'student'
    """The input whose gradient is compared: a tensor or a list of them."""


class Sizes(NamedTuple):
    """Sizes of the inputs."""

    samples: int
    classes: int
    images: int
    channels: int
    side: int


SIZES = Sizes(samples=64, classes=81, images=8, channels=32, side=18)
TINY = Sizes(samples=6, classes=9, images=2, channels=8, side=6)


def samples(sizes: Sizes = SIZES) -> dict[str, Callable[[], Sample]]:
    """Return a maker of a sample for every loss, by its name in the registry.

    Losses with variants have one for each: a name, a blank and the variant.
    """
    make = _Maker(sizes)
    return {
        **make.of_logits(),
        **make.of_features(),
        **make.of_vectors(),
        **make.of_pyramids(),
        **make.of_objects(),
    }


def moved(value: Any, device: torch.device, dtype: torch.dtype) -> Any:
    """Return tensors, modules and what holds them on a device, floating ones in a type.

    Modules, which are copied, have float64 if that is the type, and float32 otherwise: mixed
    precision casts their weights itself.
    """
    if isinstance(value, Tensor):
        return value.to(device, dtype if value.is_floating_point() else None)
    if isinstance(value, nn.Module):
        whole = dtype if dtype == torch.float64 else torch.float32
        return copy.deepcopy(value).to(device, whole)
    if isinstance(value, Mapping):
        return {key: moved(item, device, _type_of_input(key, dtype)) for key, item in value.items()}
    if isinstance(value, list):
        return [moved(item, device, dtype) for item in value]
    return value


def value_and_gradient(
    sample: Sample,
    device: torch.device,
    dtype: torch.dtype,
    *,
    autocast: bool = False,
    scale: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """Return the loss of a sample and its gradient, in float64 on the CPU.

    Random numbers that a loss draws are the same for all devices and types.

    Args:
        sample: The loss and its inputs.
        device: Where to compute.
        dtype: Type of the inputs.
        autocast: Compute the loss under autocast in ``dtype``, and the gradient outside.
        scale: Factor of the loss before the backward pass, and divisor after it, as a gradient
            scaler has.

    Returns:
        Scalar, and the gradients with respect to the leaves in one vector.
    """
    loss = moved(sample.loss, device, dtype)
    inputs = moved(sample.inputs, device, dtype)
    leaves = [tensor.detach().requires_grad_() for tensor in _listed(inputs[sample.leaf])]
    inputs[sample.leaf] = leaves if isinstance(inputs[sample.leaf], list) else leaves[0]
    context = torch.autocast(device.type, dtype=dtype) if autocast else nullcontext()
    with DrawnOnCPU(), context:
        value = loss(**inputs)
    gradients = torch.autograd.grad(value * scale, leaves, allow_unused=True)
    flat = [
        (torch.zeros_like(leaf) if gradient is None else gradient).double().cpu().flatten()
        for leaf, gradient in zip(leaves, gradients)
    ]
    return value.detach().double().cpu(), torch.cat(flat) / scale


class DrawnOnCPU(TorchFunctionMode):
    """Takes random numbers from one generator on the CPU, in float32, whoever draws them."""

    _OF_SHAPES = (torch.rand, torch.randn, torch.randint)
    _LIKE = {torch.rand_like: torch.rand, torch.randn_like: torch.randn}

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self._generator = torch.Generator().manual_seed(seed)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func in self._LIKE:
            drawn = self._LIKE[func](args[0].shape, generator=self._generator)
            return drawn.to(args[0])
        if func in self._OF_SHAPES:
            device, dtype = kwargs.pop('device', None), kwargs.pop('dtype', None)
            drawn = func(*args, **kwargs, generator=self._generator)
            return drawn.to(device=device, dtype=dtype)
        return func(*args, **kwargs)


class _Maker:
    """Makes the inputs; each sample starts the generator anew, so their order says nothing."""

    def __init__(self, sizes: Sizes) -> None:
        self.sizes = sizes
        self._generator = torch.Generator()

    def of_logits(self) -> dict[str, Callable[[], Sample]]:
        """Return those that compare logits."""
        alone = (losses.KDLoss, losses.DISTLoss, losses.TTMLoss, losses.WTTMLoss, losses.CTKDLoss)
        targeted = (losses.DKDLoss, losses.NKDLoss, losses.WSLDLoss)
        found = {kind.__name__: self._later(self._logits, kind) for kind in alone}
        found |= {kind.__name__: self._later(self._logits, kind, True) for kind in targeted}
        return found | {
            'KDLoss standardised': self._later(
                self._logits, lambda: losses.KDLoss(standardize=True)
            ),
            'OFALoss': self._later(self._logits, lambda: losses.OFALoss(eps=1.5), True),
            'TfKDSelfLoss': self._later(self._logits, losses.TfKDSelfLoss),
            'TfKDLoss': self._later(self._alone, losses.TfKDLoss),
            'LabelSmoothingLoss': self._later(self._alone, losses.LabelSmoothingLoss),
            'MLKDLoss': self._later(self._views),
            'DiffKDLogitLoss': self._later(
                self._logits, lambda: losses.DiffKDLogitLoss(num_classes=self.sizes.classes)
            ),
            'WKDLogitLoss': self._later(self._transport),
            'WKDLogitLoss joint': self._later(self._transport, separated=False),
            'WKDLogitLoss log domain': self._later(self._transport, log_domain=True),
            'WKDLogitLoss debiased': self._later(self._transport, debiased=True),
            'WKDLogitLoss weighed': self._later(self._transport, weigh_by_non_target=True),
        }

    def of_features(self) -> dict[str, Callable[[], Sample]]:
        """Return those that compare maps."""
        width = self.sizes.channels
        both = dict(student_channels=width, teacher_channels=width)
        kinds = {
            'ATLoss': losses.ATLoss,
            'CATKDLoss': lambda: losses.CATKDLoss(normalize=True),
            'DiffKDLoss': lambda: losses.DiffKDLoss(hidden_channels=2 * width, **both),
            'FTLoss': lambda: losses.FTLoss(**both),
            'FitNetLoss': losses.FitNetLoss,
            'ICKDLoss': losses.ICKDLoss,
            'MGDLoss': lambda: losses.MGDLoss(teacher_channels=width, alpha=1.0),
            'NSTLoss': losses.NSTLoss,
            'PKDLoss': losses.PKDLoss,
            'SPLoss': losses.SPLoss,
        }
        for distribution, distance in FEATURE_DISTANCES:
            name = f'WKDFeatureLoss {distribution} {distance}'
            kinds[name] = _with(
                losses.WKDFeatureLoss, grid=2, distribution=distribution, distance=distance
            )
        return {name: self._later(self._maps, kind) for name, kind in kinds.items()} | {
            'SRRLLoss': self._later(self._through_head),
            'USKDLoss': self._later(
                self._map_and_logits,
                lambda: losses.USKDLoss(num_classes=self.sizes.classes, student_channels=width),
            ),
            'ZipfLoss': self._later(self._map_and_logits, losses.ZipfLoss, True),
        }

    def of_vectors(self) -> dict[str, Callable[[], Sample]]:
        """Return those that compare the images of a batch."""
        width = self.sizes.channels
        both = dict(student_channels=width, teacher_channels=width)
        kinds = {
            'CCLoss': lambda: losses.CCLoss(**both),
            'IPOTLoss': losses.IPOTLoss,
            'PKTLoss': losses.PKTLoss,
            'RKDLoss': losses.RKDLoss,
        }
        return {name: self._later(self._vectors, kind) for name, kind in kinds.items()} | {
            'CRDLoss': self._later(self._contrast, losses.CRDLoss),
            'WCoRDLoss': self._later(self._contrast, losses.WCoRDLoss),
        }

    def of_pyramids(self) -> dict[str, Callable[[], Sample]]:
        """Return those that compare maps of several sizes."""
        width, side = self.sizes.channels, self.sizes.side
        both = dict(student_channels=(width, width), teacher_channels=(width, width))
        sides = ((side, side), (side // 2, side // 2))
        kinds = {
            'ABLoss': losses.ABLoss,
            'DPKLoss': lambda: losses.DPKLoss(
                **both, teacher_size=sides, width=32, num_heads=4, max_side=4
            ),
            'FGFILoss': losses.FGFILoss,
            'FSPLoss': losses.FSPLoss,
            'OFDLoss': self._ofd,
            'ReviewKDLoss': losses.ReviewKDLoss,
            'VIDLoss': lambda: losses.VIDLoss(**both),
        }
        return {name: self._later(self._pyramid, kind) for name, kind in kinds.items()}

    def of_objects(self) -> dict[str, Callable[[], Sample]]:
        """Return those that compare boxes, and maps at objects."""
        return {
            'BoxGIoULoss': self._later(self._sides, losses.BoxGIoULoss),
            'BoxLoss': self._later(self._boxes),
            'BoxWassersteinLoss': self._later(self._sides, losses.BoxWassersteinLoss),
            'BoxWassersteinLoss of order 2': self._later(
                self._sides, _with(losses.BoxWassersteinLoss, order=2)
            ),
            'LDLoss': self._later(self._sides, losses.LDLoss),
            'ICDLoss': self._later(self._instances),
            'OffsetLoss': self._later(self._offsets),
            'QueryBoxLoss': self._later(self._queries),
            'QualityFocalKDLoss': self._later(self._places, losses.QualityFocalKDLoss),
            'SigmoidKDLoss': self._later(self._places, losses.SigmoidKDLoss),
            'WKDSigmoidLoss': self._later(
                self._places, _with(losses.WKDSigmoidLoss, cost=1 - torch.eye(self.sizes.classes))
            ),
        }

    def _later(self, make: Callable[..., Sample], *args: Any, **options: Any) -> Any:
        def made() -> Sample:
            self._generator.manual_seed(0)
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)  # of the weights that losses have
                return make(*args, **options)

        return made

    def _randn(self, *shape: int, factor: float = 1.0) -> Tensor:
        drawn = factor * torch.randn(shape, generator=self._generator)
        return drawn.bfloat16().float()

    def _pair(self, *shape: int, factor: float = 1.0) -> dict[str, Tensor]:
        return {name: self._randn(*shape, factor=factor) for name in ('student', 'teacher')}

    def _target(self) -> Tensor:
        shape = (self.sizes.samples,)
        return torch.randint(0, self.sizes.classes, shape, generator=self._generator)

    def _logits(self, kind: Callable[[], nn.Module], with_target: bool = False) -> Sample:
        inputs: dict[str, Any] = self._pair(self.sizes.samples, self.sizes.classes, factor=2.0)
        if with_target:
            inputs['target'] = self._target()
        return Sample(kind(), inputs)

    def _alone(self, kind: Callable[[], nn.Module]) -> Sample:
        student = self._randn(self.sizes.samples, self.sizes.classes, factor=2.0)
        return Sample(kind(), dict(student=student, target=self._target()))

    def _views(self) -> Sample:
        shape = self.sizes.samples, self.sizes.classes
        strong = {f'{name}_strong': value for name, value in self._pair(*shape).items()}
        return Sample(losses.MLKDLoss(), {**self._pair(*shape), **strong})

    def _transport(self, **options: Any) -> Sample:
        rows = torch.randn(self.sizes.classes, 64, generator=self._generator)
        cost = interrelation_to_cost(cosine_interrelation(rows), sharpness=2.0)
        loss = losses.WKDLogitLoss(cost=cost, temperature=2.0, **options)
        return self._logits(lambda: loss, True)

    def _maps(self, kind: Callable[[], nn.Module]) -> Sample:
        side = self.sizes.side
        shape = (self.sizes.images, self.sizes.channels, side, side + 1)
        return Sample(kind(), self._pair(*shape))

    def _vectors(self, kind: Callable[[], nn.Module]) -> Sample:
        return Sample(kind(), self._pair(self.sizes.samples, self.sizes.channels, 2, 2))

    def _through_head(self) -> Sample:
        sample = self._maps(losses.SRRLLoss)
        head = nn.Linear(self.sizes.channels, self.sizes.classes).requires_grad_(False)
        logits = self._randn(self.sizes.images, self.sizes.classes)
        return sample._replace(inputs=dict(sample.inputs, teacher_head=head, teacher_logits=logits))

    def _map_and_logits(self, kind: Callable[[], nn.Module], with_head: bool = False) -> Sample:
        inputs: dict[str, Any] = dict(
            student=self._randn(self.sizes.samples, self.sizes.channels, 3, 3),
            student_logits=self._randn(self.sizes.samples, self.sizes.classes),
            target=self._target(),
        )
        if with_head:
            inputs['student_head'] = nn.Linear(self.sizes.channels, self.sizes.classes)
        return Sample(kind(), inputs, leaf='student_logits')

    def _contrast(self, kind: type[nn.Module]) -> Sample:
        width, count, known = self.sizes.channels, self.sizes.samples, 4 * self.sizes.samples
        loss = kind(
            student_channels=width, teacher_channels=width, width=width, num_samples=known,
            negatives=16,
        ).eval()  # fmt: skip  # banks stay as they are
        negatives = torch.randint(known, (count, 16), generator=self._generator)
        inputs = self._pair(count, width, 2, 2)
        return Sample(loss, dict(inputs, index=torch.arange(count), negatives=negatives))

    def _pyramid(self, kind: Callable[[], nn.Module]) -> Sample:
        return Sample(kind(), self._levels())

    def _levels(self) -> dict[str, Any]:
        images, width, side = self.sizes.images, self.sizes.channels, self.sizes.side
        shapes = [(images, width, side, side), (images, width, side // 2, side // 2)]
        return {name: [self._randn(*shape) for shape in shapes] for name in ('student', 'teacher')}

    def _ofd(self) -> nn.Module:
        width = self.sizes.channels
        loss = losses.OFDLoss(teacher_channels=(width, width))
        loss.set_teacher_modules([nn.BatchNorm2d(width), nn.BatchNorm2d(width)])
        return loss

    def _corners(self, *shape: int) -> Tensor:
        corner = 20 * torch.rand(*shape, 2, generator=self._generator)
        extent = 10 + 10 * torch.rand(*shape, 2, generator=self._generator)
        return torch.cat([corner, corner + extent], dim=-1)

    def _offsets(self) -> Sample:
        return Sample(losses.OffsetLoss(), self._pair(self.sizes.samples, 4))

    def _sides(self, kind: Callable[[], nn.Module]) -> Sample:
        return self._weighted(kind, 4, 17)

    def _places(self, kind: Callable[[], nn.Module]) -> Sample:
        return self._weighted(kind, self.sizes.classes)

    def _weighted(self, kind: Callable[[], nn.Module], *shape: int) -> Sample:
        inputs: dict[str, Any] = self._pair(self.sizes.samples, *shape, factor=2.0)
        weight = torch.rand(self.sizes.samples, generator=self._generator).bfloat16().float()
        return Sample(kind(), dict(inputs, weight=weight))

    def _queries(self) -> Sample:
        sample = self._weighted(losses.QueryBoxLoss, 4)
        for side in ('student', 'teacher'):  # shares of the image
            sample.inputs[side] = sample.inputs[side].sigmoid().bfloat16().float()
        return sample

    def _boxes(self) -> Sample:
        count = self.sizes.samples
        boxes = dict(student_boxes=self._corners(count), teacher_boxes=self._corners(count))
        return Sample(losses.BoxLoss(), dict(self._pair(count, 4), **boxes), leaf='student_boxes')

    def _instances(self) -> Sample:
        images, width = self.sizes.images, self.sizes.channels
        loss = losses.ICDLoss(
            num_classes=self.sizes.classes, student_channels=width, teacher_channels=width,
            width=32, num_heads=4,
        )  # fmt: skip
        given = dict(
            boxes=[self._corners(3) for _ in range(images)],
            labels=[torch.arange(3) for _ in range(images)],
            image_sizes=[(64, 64)] * images,
        )
        return Sample(loss, dict(self._levels(), **given))


def _with(kind: type[nn.Module], **options: Any) -> Callable[[], nn.Module]:
    return lambda: kind(**options)


def _type_of_input(key: str, dtype: torch.dtype) -> torch.dtype:
    return torch.float32 if key in _EXACT_KEYS and dtype.itemsize < 4 else dtype


def _listed(value: Tensor | Sequence[Tensor]) -> Iterator[Tensor]:
    return iter([value] if isinstance(value, Tensor) else value)
