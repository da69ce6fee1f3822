"""Heads of queries: what each decoder layer gives, and the objects that queries stand for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from mmdet.models.dense_heads import DETRHead
from mmdet.models.detectors import DINO
from mmdet.models.task_modules.assigners import HungarianAssigner
from torch import Tensor, nn

from wkd_det.detection.dense import HEAD, needed_arguments
from wkd_det.detection.transformers import is_query_detector
from wkd_det.distillation.recording import replaced
from wkd_det.ops.arithmetic import promote

_GIVEN = ('hidden_states', 'references')
"""Arguments that decoders give to heads of queries."""


@dataclass
class QueryOutput:
    """Outputs of a head of queries for a batch, layer by layer; ``Q`` queries for each image.

    Queries that serve the training of the head alone (denoising, dense ones of a DDQ) are left
    out.
    """

    logits: list[Tensor]
    """Class logits, each ``(N, Q, K)`` of sigmoids, or ``(N, Q, K + 1)`` of a softmax with
    "no object" last."""
    boxes: list[Tensor]
    """Centre, width and height in shares of the image, each ``(N, Q, 4)``."""
    distinct: list[Tensor | None]
    """Queries that a DDQ keeps, each bool ``(N, Q)``; None where all of them count."""
    is_softmax: bool
    """Whether the logits are those of a softmax."""

    @torch.no_grad()
    def scores(self, layer: int) -> Tensor:
        """The largest probability of an object's class, ``(N, Q)``, in at least float32."""
        return self.probabilities(layer).amax(dim=2)

    @torch.no_grad()
    def probabilities(self, layer: int) -> Tensor:
        """Probabilities of the objects' classes, ``(N, Q, K)``, in at least float32."""
        (logits,) = promote(self.logits[layer].detach())
        return logits.softmax(dim=2)[..., :-1] if self.is_softmax else logits.sigmoid()


def query_head(model: nn.Module, owner: str) -> DETRHead:
    """The head of a detector whose decoder layers refine queries.

    Args:
        model: A detector.
        owner: ``'student'`` or ``'teacher'``.

    Raises:
        ValueError: Naming the head and what it lacks.
    """
    head, kind = getattr(model, HEAD, None), type(model).__name__
    if not is_query_detector(model) or not isinstance(head, DETRHead):
        found = 'none' if head is None else type(head).__name__
        raise ValueError(
            f'the {owner} {kind} has no queries: its {HEAD} must be a DETRHead behind a '
            f'transformer, got {found}'
        )
    more = [name for name in needed_arguments(head) if name not in _GIVEN]
    if more:
        raise ValueError(
            f'the {type(head).__name__} of the {owner} needs more than what its decoder gives: '
            f'{more}'
        )
    return head


def require_assigner(head: DETRHead, owner: str) -> None:
    """Refuse a head that does not assign one query to each object.

    Raises:
        ValueError: Naming the head and its assigner.
    """
    assigner = getattr(head, 'assigner', None)
    if assigner is None:
        raise ValueError(
            f'the {type(head).__name__} of the {owner} has no assigner, which pairs queries: its '
            'config needs train_cfg'
        )
    if not isinstance(assigner, HungarianAssigner):
        raise ValueError(
            f'the assigner of the {type(head).__name__} of the {owner} must be a '
            f'HungarianAssigner, which gives each object one query, got {type(assigner).__name__}'
        )


def is_softmax(head: DETRHead) -> bool:
    """Whether the classes of a head are those of a softmax, with "no object" as the last one."""
    return head.cls_out_channels > head.num_classes


def require_same_scores(student: DETRHead, teacher: DETRHead) -> None:
    """Refuse a softmax on one side and sigmoids on the other.

    Raises:
        ValueError: With both heads.
    """
    if is_softmax(student) != is_softmax(teacher):
        names = {
            is_softmax(head): f'the {type(head).__name__} of the {owner}'
            for owner, head in (('student', student), ('teacher', teacher))
        }
        raise ValueError(
            f'{names[True]} has a softmax over classes and {names[False]} a sigmoid for each: '
            'their logits cannot be compared'
        )


def num_layers(model: nn.Module, owner: str) -> int:
    """Number of decoder layers whose outputs a detector's head gives.

    Raises:
        ValueError: If its decoder does not say.
    """
    decoder = getattr(model, 'decoder', None)
    if not hasattr(decoder, 'num_layers'):
        raise ValueError(
            f'the decoder of the {owner} {type(model).__name__}, a {type(decoder).__name__}, must '
            'say its num_layers'
        )
    return decoder.num_layers if getattr(decoder, 'return_intermediate', True) else 1


def query_class_weights(head: DETRHead, layer: int) -> Tensor:
    """Weights of the classifier of a decoder layer, shape ``(K, D)`` or ``(K + 1, D)``.

    Raises:
        ValueError: If the classifier is no linear layer.
    """
    branches = getattr(head, 'cls_branches', None)
    classifier = branches[layer] if branches is not None else getattr(head, 'fc_cls', None)
    if not isinstance(classifier, nn.Linear):
        raise ValueError(
            f'the {type(head).__name__} of the teacher has no linear layer of class scores to '
            'compute class costs from: take them from a file'
        )
    return classifier.weight


def query_output(model: nn.Module, raw: tuple[Tensor, ...]) -> QueryOutput:
    """Outputs of a head of queries, in one form for all heads.

    Args:
        model: The detector, just after its head has run.
        raw: Output of the head: scores and boxes, each ``(L, N, Q, ...)``.
    """
    head = getattr(model, HEAD)
    scores, boxes = raw[:2]
    shared = getattr(head, 'cache_dict', {})  # of a DDQ
    start, count = 0, scores.shape[2]
    if 'dis_query_info' in shared:
        start, count = shared['dis_query_info']
    elif isinstance(model, DINO) and model.training:  # behind those of denoising
        start, count = count - model.num_queries, model.num_queries
    rows = slice(start, start + count)
    kept = [None, *_distinct(shared, images=scores.shape[1])]
    return QueryOutput(
        [one[:, rows] for one in scores],
        [one[:, rows] for one in boxes],
        [kept[layer] if layer < len(kept) else None for layer in range(len(scores))],
        is_softmax(head),
    )


class Assignment(NamedTuple):
    """One assignment of the queries of an image and a decoder layer, as a head's loss made it."""

    scores: Tensor
    """Logits of the queries that took part, ``(Q, K)``."""
    objects: int
    """Number of objects."""
    assigned: Tensor
    """For each of these queries the number of its object from 1 on, or 0."""


@contextmanager
def recording_assignments(head: nn.Module, into: list[Assignment]) -> Iterator[None]:
    """A block in which a head's own Hungarian assignments are recorded while its loss runs.

    Args:
        head: The head of a detector; nothing is recorded of one without queries.
        into: Gets them in the order in which they are made: of MMDetection's heads decoder layer
            by decoder layer, and image by image.
    """
    if not isinstance(head, DETRHead) or not hasattr(head, 'assigner'):
        yield
        return
    with replaced(head.assigner, 'assign', partial(_assign, head.assigner.assign, into)):
        yield


def _assign(
    original: Callable, into: list[Assignment], pred_instances: Any, *args: Any, **kwargs: Any
) -> Any:
    result = original(pred_instances, *args, **kwargs)
    into.append(Assignment(pred_instances.scores.detach(), result.num_gts, result.gt_inds))
    return result


def _distinct(shared: dict[str, Any], images: int) -> list[Tensor]:
    """Queries that a DDQ keeps behind each of its layers, as its own loss reads them."""
    return [
        torch.stack([mask[image * shared['num_heads']][0] for image in range(images)])
        for mask in shared.get('distinct_query_mask', ())
    ]
