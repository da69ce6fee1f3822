"""Mistakes of a classifier: how far off they are in a grouping of the classes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.evaluator import BaseMetric

from wkd_det.classification.accuracy import labelled, scores_and_labels
from wkd_det.costs.report import groups_of, read_grouping

_KINDS = ('same group', 'other group')


class GroupMistakes(BaseMetric):
    """Whether what is taken for another class is at least of its group.

    Convention:
        - ``accuracy`` is the percentage of images whose predicted class is in the label's group.
        - ``distance`` is the mean hierarchical distance of the mistakes: the height of the lowest
          common ancestor of prediction and label in the tree of two levels, 1 within a group and
          2 across groups. It is 0 where there is no mistake.
        - ``mistakes`` counts them by kind, ``confusion`` counts all images, groups of the label by
          rows and of the prediction by columns, in the order of ``confusion_names``.
        - Images without a label, -1, are not counted.

    Args:
        grouping: ``'cifar100'`` (20 superclasses), ``'coco'``, or a JSON file ``{class: group}``;
            see :func:`~wkd_det.costs.report.read_grouping`.
        **options: Options of mmengine's ``BaseMetric``.

    Raises:
        FileNotFoundError, ValueError: If the grouping cannot be read; when scores arrive, if a
            class has no group or the data set names no classes.

    References: Bertinetto et al., Making Better Mistakes: Leveraging Class Hierarchies with Deep
        Networks, CVPR 2020 (the distance).
    """

    default_prefix = 'groups'

    def __init__(self, grouping: str | os.PathLike, **options: Any) -> None:
        super().__init__(**options)
        self.grouping = grouping
        self._group_of = read_grouping(grouping)

    def process(self, data_batch: Any, data_samples: Sequence[Mapping[str, Any]]) -> None:
        """Note label and predicted class of each image."""
        scores, labels = scores_and_labels(data_samples)
        self.results.extend(zip(labels.tolist(), scores.float().argmax(dim=1).tolist()))

    def compute_metrics(self, results: list[tuple[int, int]]) -> dict[str, Any]:
        """Return ``accuracy``, ``distance``, ``mistakes``, ``confusion`` and ``confusion_names``.

        Raises:
            ValueError: If no image has a label, a class has no group or classes have no names.
        """
        classes = (self.dataset_meta or {}).get('classes')
        if classes is None:
            raise ValueError('GroupMistakes: the data set names no classes')
        groups = groups_of(list(classes), self._group_of, str(self.grouping))
        names = list(dict.fromkeys(groups))
        places = torch.tensor([names.index(group) for group in groups])
        label, predicted = torch.tensor(labelled(results, place=0)).unbind(1)
        confusion = torch.zeros(len(names), len(names), dtype=torch.int64)
        confusion.index_put_(
            (places[label], places[predicted]), torch.ones_like(label), accumulate=True
        )
        wrong = int((label != predicted).sum())
        across = int(confusion.sum() - confusion.trace())
        return dict(
            accuracy=100 * (1 - across / len(label)),
            distance=(wrong + across) / wrong if wrong else 0.0,
            mistakes=dict(zip(_KINDS, (wrong - across, across))),
            confusion=confusion.tolist(),
            confusion_names=names,
        )
