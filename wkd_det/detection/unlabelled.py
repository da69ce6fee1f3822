"""Images without labels in the batch of a detector: only the terms count on them.

A data sample says that it has no labels by ``labelled=False`` in its metainfo, as
:class:`~wkd_det.detection.unlabelled_data.UnlabelledDataset` sets it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmengine.logging import print_log
from torch import nn

from wkd_det.detection.geometry import PLACES
from wkd_det.detection.heads import is_sparse
from wkd_det.detection.taps.dense import DenseTap
from wkd_det.detection.taps.rois import RoITap
from wkd_det.distillation.recording import module_of
from wkd_det.distillation.term import Term
from wkd_det.ops.checks import check_integers
from wkd_det.runtime.config import check_keys

LABELLED = 'labelled'
"""Key of a data sample's metainfo: False in one without labels."""


def is_labelled(sample: Any) -> bool:
    """Return whether a data sample has labels: all that do not say otherwise."""
    return bool(sample.metainfo.get(LABELLED, True))


@dataclass(frozen=True)
class Unlabelled:
    """The section ``unlabelled`` of a distilled detector: what is done without labels.

    Args:
        num_rois: RoIs of an image, at most; as many as the student samples in a labelled one by
            default.

    Raises:
        ValueError: If it is no positive integer.
    """

    num_rois: int | None = None

    def __post_init__(self) -> None:
        if self.num_rois is not None:
            check_integers(**{'unlabelled.num_rois': self.num_rois})

    @classmethod
    def from_config(cls, section: Any) -> Unlabelled:
        """Read the section, refusing unknown keys.

        Raises:
            TypeError, KeyError: If it is no dict, or has other keys.
        """
        if not isinstance(section, Mapping):
            raise TypeError(f'unlabelled must be a dict, e.g. dict(num_rois=64), got {section!r}')
        check_keys('unlabelled', section, ['num_rois'])
        return cls(**section)

    def check_terms(self, student: nn.Module, terms: Mapping[str, Term]) -> None:
        """Say which terms count labelled images alone, and refuse a section that serves none.

        Raises:
            ValueError: If no term counts images without labels, one reads a module that runs in
                the student's loss alone, or one compares places of dense heads.
        """
        for name, term in terms.items():
            if isinstance(term.tap, DenseTap):
                raise ValueError(
                    f'distill.{name} compares places of dense heads, which are not told apart in '
                    'batches that hold images without labels: with unlabelled set, use terms on '
                    'maps'
                )
            for module in sorted(term.modules_of('student')):
                if not _runs_on_all(student, module_of(module)):
                    raise ValueError(
                        f'distill.{name} reads {module!r}, which runs on labelled images alone: '
                        'with unlabelled set, tap the backbone, the neck, a head that takes maps '
                        'or the box head'
                    )
        blind = [name for name, term in terms.items() if term.reads_labels]
        if len(blind) == len(terms):
            listed = f': {", ".join(blind)} need labels' if blind else ''
            raise ValueError(
                f'unlabelled is set, and no term counts images without labels{listed}; leave it '
                'out, or add a term that compares what both networks give by themselves'
            )
        if blind:
            print_log(
                f'images without labels do not count in {", ".join(blind)}, which need labels',
                logger='current',
            )

    def check_networks(
        self, student: nn.Module, teacher: nn.Module, terms: Mapping[str, Term]
    ) -> None:
        """Refuse networks that give no RoIs of images without labels to terms that read such.

        Raises:
            ValueError: With the term and the reason.
        """
        for name, term in terms.items():
            if term.reads_labels or not _reads_rois(term):
                continue
            if not callable(getattr(getattr(teacher, 'rpn_head', None), 'predict', None)):
                raise ValueError(
                    f'distill.{name} reads RoIs, which the RPN of the teacher proposes in images '
                    f'without labels, and {type(teacher).__name__} has none: use terms on maps'
                )
            if is_sparse(student.roi_head):
                raise ValueError(
                    f'distill.{name} reads RoIs, and those of the student {type(student).__name__} '
                    'are its own also in images without labels, where nothing says how it refines '
                    'them: use terms on maps'
                )

    def proposer(self, terms: Mapping[str, Term]) -> str | None:
        """Return the name of the teacher whose proposals are the RoIs of images without labels.

        That of the first term which reads RoIs and is on; None if there is no such term.
        """
        on = (term for term in terms.values() if term.scale and not term.reads_labels)
        return next((term.teacher for term in on if _reads_rois(term)), None)

    def rois_of(self, student: nn.Module) -> int:
        """Return the number of RoIs of an image."""
        if self.num_rois is not None:
            return self.num_rois
        train = student.train_cfg.rcnn
        return (train[0] if isinstance(train, (list, tuple)) else train).sampler.num


def _runs_on_all(student: nn.Module, module: str) -> bool:
    """Whether a module runs on images without labels too."""
    part, _, rest = module.partition('.')
    if part == 'roi_head':
        return rest.split('.')[0] in ('bbox_head', 'shared_head')
    return part in PLACES or isinstance(getattr(student, part, None), BaseDenseHead)


def _reads_rois(term: Term) -> bool:
    modules = term.modules_of('student') | term.modules_of('teacher')
    return isinstance(term.tap, RoITap) or any(name.startswith('roi_head.') for name in modules)
