"""Instance-conditional distillation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from torch import Tensor, nn

from wkd_det.functional import attended_loss
from wkd_det.functional.number_check import check_integers, check_nonnegative
from wkd_det.functional.precision import without_autocast
from wkd_det.losses.instance_decoder import InstanceDecoder
from wkd_det.losses.instance_encoder import InstanceEncoder
from wkd_det.losses.instance_sampler import InstanceSampler
from wkd_det.losses.instances import Instances
from wkd_det.losses.perceptron import perceptron


@MODELS.register_module()
class InstanceConditionalLoss(nn.Module):
    r"""Imitation where the teacher's pyramid speaks of an instance (ICD).

    Every object becomes a query: class, blurred position and coarse size pass a perceptron. A
    decoder attends with it to the teacher's pyramid, and an auxiliary task teaches the decoder
    where to look: from what it found, tell true instances from invented ones (binary
    cross-entropy) and, for the true ones, how far the sides of the box are from the blurred
    position (L1, relative to the box). Where the heads attend, the student's values shall be the
    teacher's:

    .. math::
        L = w \cdot \frac{1}{N M D} \sum_{n, m, d}
        \frac{\sum_s a_{nms} (\hat V^S_{nmsd} - \hat V^T_{nmsd})^2}{\sum_s a_{nms}}
        + w_{aux} (L_{identification} + L_{localisation})

    with the attention :math:`a` of a head summed over the true instances, and values of
    ``width / num_heads`` channels normalised to mean 0 and variance 1. See
    :func:`wkd_det.functional.attended_loss`.

    Convention:
        - The first part trains the student and its value projection; decoder, encoder and
          predictor learn from the auxiliary task alone. The teacher gets no gradient.
        - Means over images, heads and channels; over instances; over true instances.
        - Invented instances are drawn at every call, from torch's random state.
        - A schedule scales ``loss_weight`` alone: the decoder goes on learning. The published
          code trains it for 1000 iterations before it distils:
          ``dict(type='TermScheduleHook', terms=['loss_icd.loss_weight'], by_epoch=False,
          warm_up=1000)`` comes near.

    Args:
        num_classes: Object classes; told by the tap.
        student_channels: Width of the student's pyramid; told by the tap.
        teacher_channels: Width of the teacher's; told by the tap.
        width: Of queries and values.
        num_heads: Of the attention; divides ``width``.
        invented_ratio: Invented instances for each true one, at least one in an image without
            objects.
        max_instances: Most instances of an image; true ones are never left out.
        jitter: Largest shift of the position from the box's centre, in units of the box.
        loss_weight: w; published: 3 for Faster R-CNN, 8 for one-stage detectors.
        auxiliary_weight: :math:`w_{aux}`.

    Raises:
        ValueError: If a number is outside its range.

    References: Kang, Zhang, Zhang, Sun, Zheng, Instance-Conditional Knowledge Distillation for
        Object Detection, NeurIPS 2021; numbers and layers are those of its code.
    """

    takes: ClassVar[str] = 'instances'
    scalable: ClassVar[tuple[str, ...]] = ('loss_weight',)
    fading_part: ClassVar[str] = 'loss_weight'

    def __init__(
        self,
        *,
        num_classes: int,
        student_channels: int,
        teacher_channels: int,
        width: int = 256,
        num_heads: int = 8,
        invented_ratio: float = 5.0,
        max_instances: int = 100,
        jitter: float = 0.3,
        loss_weight: float = 3.0,
        auxiliary_weight: float = 1.0,
    ) -> None:
        super().__init__()
        check_nonnegative(
            invented_ratio=invented_ratio,
            jitter=jitter,
            loss_weight=loss_weight,
            auxiliary_weight=auxiliary_weight,
        )
        check_integers(max_instances=max_instances, num_heads=num_heads, width=width)
        if width % num_heads or width % 2:
            raise ValueError(
                f'width must be even and a multiple of num_heads, got {width} and {num_heads}'
            )
        self.loss_weight = loss_weight
        self.auxiliary_weight = auxiliary_weight
        self.sampler = InstanceSampler(
            num_classes, ratio=invented_ratio, limit=max_instances, jitter=jitter
        )
        self.encoder = InstanceEncoder(num_classes, width)
        self.decoder = InstanceDecoder(teacher_channels, width, num_heads)
        self.student_value = nn.Linear(student_channels, width)
        self.predictor = perceptron(width, width, 5)
        self.positions = MODELS.build(
            dict(type='SinePositionalEncoding', num_feats=width // 2, normalize=True)
        )

    def forward(
        self,
        student: Sequence[Tensor],
        teacher: Sequence[Tensor],
        boxes: Sequence[Tensor],
        labels: Sequence[Tensor],
        image_sizes: Sequence[tuple[int, int]],
        mask: Sequence[Tensor] | None = None,
    ) -> Tensor:
        """Loss, scalar.

        Args:
            student: Maps of a pyramid, each ``(N, C_s, H, W)``.
            teacher: Maps of the same sizes, each ``(N, C_t, H, W)``.
            boxes: Corners of the objects of each image in pixels, each ``(G, 4)``.
            labels: Their classes, each ``(G,)``.
            image_sizes: Height and width of each image without padding.
            mask: Bool, each ``(N, H, W)``: pixels that are not padding; None for all.
        """
        like = self.student_value.weight
        outside = [
            torch.zeros_like(level[:, 0], dtype=torch.bool) if mask is None else ~mask[index]
            for index, level in enumerate(teacher)
        ]
        with without_autocast(like):
            queried = self.sampler([own.to(like) for own in boxes], labels, image_sizes)
            decoded, attention, teacher_values = self.decoder(
                self.encoder(queried),
                _pixels(teacher, outside).to(like).detach(),
                _pixels([self.positions(level) for level in outside]).to(like),
                torch.cat([level.flatten(1) for level in outside], dim=1),
            )
            student_values = self.decoder.heads(
                self.student_value(_pixels(student, outside).to(like))
            )
            # One sum a head and pixel: the attention itself is the largest tensor here.
            attended = torch.einsum('nmls,nl->nms', attention.detach(), queried.true)
            distilled = attended_loss(student_values, teacher_values, attended)
            auxiliary = self._auxiliary_loss(decoded, queried)
            return self.loss_weight * distilled + self.auxiliary_weight * auxiliary

    def _auxiliary_loss(self, decoded: Tensor, queried: Instances) -> Tensor:
        predicted = self.predictor(decoded)
        identification = F.binary_cross_entropy_with_logits(
            predicted[..., 0], queried.true, weight=queried.valid, reduction='sum'
        )
        error = (predicted[..., 1:].sigmoid() - queried.sides).abs()
        extent = queried.sides + queried.sides.roll(2, dims=2)  # left + right, upper + lower
        localisation = (error / extent.clamp(min=1e-7)).sum(dim=2) * queried.true
        return identification / queried.valid.sum().clamp(
            min=1
        ) + localisation.sum() / queried.true.sum().clamp(min=1)


def _pixels(maps: Sequence[Tensor], outside: Sequence[Tensor] | None = None) -> Tensor:
    """Pixels of all levels in a row, shape ``(N, S, C)``; 0 in the padding."""
    if outside is not None:  # padding may hold anything, also inf
        maps = [level.masked_fill(out[:, None], 0) for level, out in zip(maps, outside)]
    return torch.cat([level.flatten(2) for level in maps], dim=2).transpose(1, 2)
