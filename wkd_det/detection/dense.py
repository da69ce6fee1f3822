"""Dense heads: what they give for each place of their levels, and what they were assigned."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from mmdet.models.dense_heads import (
    ATSSHead,
    FCOSHead,
    FSAFHead,
    GFLHead,
    RTMDetHead,
    TOODHead,
    VFNetHead,
    YOLOXHead,
)
from mmdet.models.dense_heads.anchor_head import AnchorHead
from torch import Tensor, nn

from wkd_det.distillation.recording import replaced

HEAD = 'bbox_head'
"""Name of the dense head of a one-stage detector."""

_LABELS = {
    AnchorHead: 0,
    ATSSHead: 1,
    FCOSHead: 0,
    GFLHead: 1,
    RTMDetHead: 1,
    TOODHead: 1,
    VFNetHead: 0,
}
"""Where ``get_targets`` of a class returns the labels of its priors, level by level."""

_PROBABILITY_GUARD = 1e-6


@dataclass
class DenseOutput:
    """Outputs of a dense head for a batch, level by level; ``A`` priors at each place."""

    logits: list[Tensor]
    """Logits of a sigmoid for each class, each ``(N, A, K, H, W)``."""
    quality: list[Tensor] | None
    """Logits of centredness, IoU or objectness, each ``(N, A, H, W)``; None where the head has no
    such branch."""
    distributions: list[Tensor] | None
    """Logits of the distances of the four sides, each ``(N, A, 4 B, H, W)``; None where the head
    predicts the distances themselves."""

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """Height and width of each level."""
        return [tuple(one.shape[-2:]) for one in self.logits]

    def mapped(self, change: Callable[[list[Tensor]], Sequence[Tensor]]) -> DenseOutput:
        """The same with the maps ``(N, C, H, W)`` of all levels changed."""

        def each(parts: list[Tensor] | None) -> list[Tensor] | None:
            if parts is None:
                return None
            inner = [part.shape[1:-2] for part in parts]
            changed = change([part.flatten(1, -3) for part in parts])
            return [part.unflatten(1, shape) for part, shape in zip(changed, inner)]

        return DenseOutput(each(self.logits), each(self.quality), each(self.distributions))


@dataclass
class Assigned:
    """Priors that stand for an object, as the student's head assigned them in its own loss."""

    levels: list[Tensor] = field(default_factory=list)
    """Bool, one per level, ``(N H W A)``, image by image."""
    images: list[Tensor] = field(default_factory=list)
    """Bool, one per image, over all levels; of heads that assign image by image."""

    def flat(self, sizes: Sequence[tuple[int, int]], images: int) -> list[Tensor]:
        """Each level as ``(N, A, H, W)``.

        Args:
            sizes: Height and width of each level.
            images: Number of images.
        """
        levels = self.levels
        if self.images:
            places = [height * width for height, width in sizes]
            levels = torch.stack(self.images).split(places, dim=1)
        return [
            level.reshape(images, *size, -1).permute(0, 3, 1, 2)
            for level, size in zip(levels, sizes)
        ]


def dense_head(model: nn.Module, owner: str) -> nn.Module:
    """The dense head of a one-stage detector with a sigmoid for each class.

    Args:
        model: A detector.
        owner: ``'student'`` or ``'teacher'``.

    Raises:
        ValueError: Naming the head and what it lacks.
    """
    kind, head = type(model).__name__, getattr(model, HEAD, None)
    if getattr(model, 'roi_head', None) is not None:
        raise ValueError(
            f'the {owner} {kind} has a RoI head: use the tap roi_logits, or roi_offsets'
        )
    if head is None:
        raise ValueError(f'the {owner} {kind} has no dense head, which would be its {HEAD}')
    name = type(head).__name__
    generator = getattr(head, 'prior_generator', None)
    for lacking, part in (
        ('strides', generator),
        ('num_base_priors', generator),
        ('cls_out_channels', head),
        ('use_sigmoid_cls', head),
    ):
        if not hasattr(part, lacking):
            where = 'prior_generator with ' if part is generator else ''
            raise ValueError(
                f'the {name} of the {owner} is no dense head over the levels of a pyramid: it has '
                f'no {where}{lacking}'
            )
    needed = needed_arguments(head)
    if len(needed) != 1:
        raise ValueError(
            f'the {name} of the {owner} needs more than the maps of its levels: {needed}'
        )
    if not head.use_sigmoid_cls:
        raise ValueError(
            f'the {name} of the {owner} has no sigmoid for each class: it has a softmax over '
            'classes and background'
        )
    return head


def needed_arguments(head: nn.Module) -> list[str]:
    """Names of the arguments without which a head does not run."""
    several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [
        parameter.name
        for parameter in inspect.signature(head.forward).parameters.values()
        if parameter.default is parameter.empty and parameter.kind not in several
    ]


def require_same_places(student: nn.Module, teacher: nn.Module) -> None:
    """Refuse dense heads that do not look at the same places with the same priors.

    Raises:
        ValueError: With the heads and what differs.
    """
    names = [type(head).__name__ for head in (student, teacher)]
    facts = [_facts(head) for head in (student, teacher)]
    for what, own in facts[0].items():
        other = facts[1][what]
        if own != other:
            raise ValueError(
                f'the {names[0]} of the student and the {names[1]} of the teacher must have the '
                f'same {what}, got {own} and {other}'
            )


def level_strides(head: nn.Module) -> list[int]:
    """Strides of the levels of a dense head."""
    strides = head.prior_generator.strides
    return [one[0] if isinstance(one, (tuple, list)) else one for one in strides]


def num_bins(head: nn.Module, owner: str) -> int:
    """Bins of the distribution of each side of a box.

    Raises:
        ValueError: If the head predicts no distributions.
    """
    if _bins(head) is None:
        raise ValueError(
            f'the {type(head).__name__} of the {owner} predicts no distributions of the sides of '
            'boxes: it has no reg_max and integral, as a GFLHead has'
        )
    return _bins(head)


def class_weights(head: nn.Module) -> Tensor:
    """Weights of the last convolution for each class, shape ``(K, D)``; of all priors together.

    Args:
        head: A dense head, the last layer of whose classifier has a name that ends in ``cls``.

    Raises:
        ValueError: If it has no such layer, or several.
    """
    named = [
        module
        for name, module in head.named_children()
        if name.endswith('cls') and isinstance(module, (nn.Conv2d, nn.ModuleList))
    ]
    layers = list(named[0]) if len(named) == 1 and isinstance(named[0], nn.ModuleList) else named
    rows = [
        layer.weight.unflatten(0, (-1, head.cls_out_channels)).transpose(0, 1).flatten(1)
        for layer in layers
        if isinstance(layer, nn.Conv2d) and layer.out_channels % head.cls_out_channels == 0
    ]
    if len(named) != 1 or len(rows) != len(layers):
        raise ValueError(
            f'the {type(head).__name__} of the teacher has no single layer of class scores to '
            'compute class costs from: take them from a file'
        )
    return torch.cat(rows, dim=1)


def require_assignment(head: nn.Module) -> None:
    """Refuse heads whose assignment of priors to objects cannot be recorded.

    Raises:
        ValueError: Naming the head.
    """
    if not isinstance(head, YOLOXHead) and _label_position(head) is None:
        raise ValueError(
            f'the {type(head).__name__} of the student does not tell its positives: its loss does '
            'not use a get_targets that is known here; set places and average to something else '
            "than 'positives'"
        )


@contextmanager
def recording_targets(head: nn.Module, into: Assigned) -> Iterator[None]:
    """A block in which the head's own assignment is recorded while its loss runs."""
    with ExitStack() as stack:
        if isinstance(head, YOLOXHead):
            single = partial(_single, head._get_targets_single, into)
            stack.enter_context(replaced(head, '_get_targets_single', single))
        elif _label_position(head) is not None:
            targets = partial(_targets, head.get_targets, into, head)
            stack.enter_context(replaced(head, 'get_targets', targets))
        yield


def dense_output(head: nn.Module, raw: Sequence[Sequence[Tensor]]) -> DenseOutput:
    """Outputs of a dense head, in one form for all heads.

    Args:
        head: The head.
        raw: Its output: class scores, boxes and perhaps more, each a list over levels.

    Raises:
        ValueError: If the scores are not those of its priors and classes.
    """
    priors = head.prior_generator.num_base_priors
    scores, boxes = raw[0], raw[1]
    classes = head.cls_out_channels
    for level, (score, count) in enumerate(zip(scores, priors)):
        if score.shape[1] != count * classes:
            raise ValueError(
                f'the {type(head).__name__} gives {score.shape[1]} scores at a place of level '
                f'{level}, and not {classes} for each of {count} priors'
            )
    if isinstance(head, TOODHead):  # it gives probabilities
        scores = [one.float().logit(_PROBABILITY_GUARD) for one in scores]
    logits = [score.unflatten(1, (count, classes)) for score, count in zip(scores, priors)]
    more = raw[2] if len(raw) > 2 else None
    has_quality = isinstance(more, (list, tuple)) and all(
        isinstance(one, Tensor) and one.shape[1] == count for one, count in zip(more, priors)
    )
    distributions = None
    if _bins(head) is not None:
        distributions = [box.unflatten(1, (count, -1)) for box, count in zip(boxes, priors)]
    return DenseOutput(logits, list(more) if has_quality else None, distributions)


def _facts(head: nn.Module) -> dict[str, Any]:
    generator = head.prior_generator
    facts = {
        'strides': level_strides(head),
        'numbers of priors at a place': list(generator.num_base_priors),
    }
    if max(generator.num_base_priors) > 1:  # which is which depends on all of it
        facts['priors'] = repr(generator)
    return facts


def _bins(head: nn.Module) -> int | None:
    reg_max = getattr(head, 'reg_max', None)
    return reg_max + 1 if isinstance(reg_max, int) and hasattr(head, 'integral') else None


def _label_position(head: nn.Module) -> int | None:
    """Where the labels stand among the targets that the head's own loss works with."""
    if isinstance(head, FSAFHead):  # its loss takes positives away afterwards
        return None
    definer = next((cls for cls in type(head).__mro__ if 'get_targets' in vars(cls)), None)
    for cls in type(head).__mro__:
        code = getattr(vars(cls).get('loss_by_feat'), '__code__', None)
        if code is not None and 'get_targets' in code.co_names:
            return _LABELS.get(definer)
        if code is not None and 'super' not in code.co_names:
            return None
    return None


def _targets(original: Callable, into: Assigned, head: nn.Module, *args: Any, **kwargs: Any) -> Any:
    result = original(*args, **kwargs)
    labels = result[_label_position(head)]
    into.levels = [(level >= 0) & (level < head.num_classes) for level in labels]
    return result


def _single(original: Callable, into: Assigned, *args: Any, **kwargs: Any) -> Any:
    result = original(*args, **kwargs)
    into.images.append(result[0])
    return result
