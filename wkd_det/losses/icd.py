"""ICD: features compared where a decoder, asked for an instance, attends to the teacher."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wkd_det.losses.base import Loss
from wkd_det.losses.icd_queries import (
    InstanceEncoder,
    Instances,
    InstanceSampler,
    perceptron,
)
from wkd_det.losses.linear import Linear
from wkd_det.ops.arithmetic import matrix_product, promote, without_autocast
from wkd_det.ops.attention import attend
from wkd_det.ops.checks import check_integers, check_nonnegative, check_tensors, plain_number


def attended_loss(student: Tensor, teacher: Tensor, attention: Tensor) -> Tensor:
    r"""Squared difference of normalised values, weighted by attention.

    .. math::
        L = \frac{1}{N M D} \sum_{n, m, d}
        \frac{\sum_s a_{nms} (\hat S_{nmsd} - \hat T_{nmsd})^2}{\sum_s a_{nms}}

    where the hat normalises each vector over its ``D`` channels to mean 0 and variance 1.

    Convention:
        - Mean over images, heads and channels; a head that attends nowhere counts as 0.
        - Neither the teacher nor the attention gets a gradient.

    Args:
        student: Values, shape ``(N, M, S, D)``: images, heads, pixels, channels of a head.
        teacher: Same shape.
        attention: Shape ``(N, M, S)``, >= 0.

    Returns:
        Scalar.

    Raises:
        TypeError: If a list or an array is given for a tensor.
        ValueError: If shapes disagree.

    References: Kang, Zhang, Zhang, Sun, Zheng, Instance-Conditional Knowledge Distillation for
        Object Detection, NeurIPS 2021, section 3.3; the normalisation is that of its code.
    """
    check_tensors(student=student, teacher=teacher, attention=attention)
    if student.dim() != 4 or student.shape != teacher.shape:
        raise ValueError(
            'student and teacher must share a shape (N, M, S, D), '
            f'got {tuple(student.shape)} and {tuple(teacher.shape)}'
        )
    if attention.shape != student.shape[:3]:
        raise ValueError(
            f'attention must have the shape (N, M, S) = {tuple(student.shape[:3])}, '
            f'got {tuple(attention.shape)}'
        )
    with without_autocast(student):
        student, teacher, attention = promote(student, teacher.detach(), attention.detach())
        channels = student.shape[-1:]
        difference = F.layer_norm(student, channels) - F.layer_norm(teacher, channels)
        attended = matrix_product(attention.unsqueeze(2), difference.square()).squeeze(2)
        return (attended / attention.sum(dim=2, keepdim=True).clamp(min=1e-6)).mean()


def grid_code(outside: Tensor, width: int) -> Tensor:
    r"""Sine code of the positions of all pixels of a map.

    Row and column are counted over the pixels that are not padding, and scaled so that the last
    one is at :math:`2 \pi`. Each has ``width / 2`` values, sines and cosines in turns, at
    wavelengths from :math:`2 \pi` on. Values are those of MMDetection's
    ``SinePositionalEncoding(width // 2, normalize=True)``, bit for bit.

    Args:
        outside: Pixels of the padding, bool, shape ``(N, H, W)``.
        width: Number of values per pixel, a multiple of 4.

    Returns:
        Rows first, then columns; float32, shape ``(N, width, H, W)``.

    References: Carion et al., End-to-End Object Detection with Transformers, ECCV 2020.
    """
    inside = (~outside).int()
    rows, columns = (inside.cumsum(axis, dtype=torch.float32) for axis in (1, 2))
    rows = rows / (rows[:, -1:] + 1e-6) * (2 * math.pi)
    columns = columns / (columns[:, :, -1:] + 1e-6) * (2 * math.pi)
    index = torch.arange(width // 2, dtype=torch.float32, device=outside.device)
    wavelength = 10000 ** (2 * (index // 2) / (width // 2))
    codes = []
    for place in (rows, columns):
        angle = place[..., None] / wavelength
        code = torch.stack([angle[..., 0::2].sin(), angle[..., 1::2].cos()], dim=4)
        codes.append(code.flatten(3))
    return torch.cat(codes, dim=3).permute(0, 3, 1, 2)


class InstanceDecoder(nn.Module):
    """One layer of a Transformer decoder without attention between the queries.

    Keys carry positions, values do not.

    Args:
        channels: Width of the pyramid.
        width: Width of queries and values.
        num_heads: Number of attention heads, a divisor of ``width``.
    """

    def __init__(self, channels: int, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query = Linear(width, width)
        self.key = Linear(channels, width)
        self.position = Linear(width, width, bias=False)  # the key has one already
        self.value = Linear(channels, width)
        self.out = Linear(width, width)
        self.attention_norm = nn.LayerNorm(width)
        self.feed_forward = nn.Sequential(
            Linear(width, 4 * width), nn.ReLU(), Linear(4 * width, width)
        )
        self.norm = nn.LayerNorm(width)

    def forward(
        self,
        queries: Tensor,
        features: Tensor,
        positions: Tensor,
        outside: Tensor,
        counted: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Decode the queries.

        Args:
            queries: Shape ``(N, L, width)``.
            features: Pixels of all levels, shape ``(N, S, channels)``.
            positions: Their codes, shape ``(N, S, width)``.
            outside: Pixels of the padding, bool, shape ``(N, S)``.
            counted: Weight of each query in the sum of the attention, shape ``(N, L)``.

        Returns:
            The decoded queries ``(N, L, width)``, and per head the sum of the attention
            ``(N, M, S)``, without a gradient, and the values ``(N, M, S, width / M)``.
        """
        query = self.heads(self.query(queries))
        key = self.heads(self.key(features) + self.position(positions))
        value = self.heads(self.value(features))
        query = query * query.shape[-1] ** -0.5
        found, attended = attend(query, key, value, outside, counted)
        decoded = self.attention_norm(queries + self.out(found.transpose(1, 2).flatten(2)))
        return self.norm(decoded + self.feed_forward(decoded)), attended, value

    def heads(self, vectors: Tensor) -> Tensor:
        """Split the channels: ``(N, S, width)`` to ``(N, M, S, width / M)``."""
        return vectors.unflatten(2, (self.num_heads, -1)).transpose(1, 2)


class ICDLoss(Loss):
    r"""Feature distance where the teacher's pyramid shows an instance (ICD).

    Every object becomes a query: class, blurred position and coarse size pass a perceptron. A
    decoder attends with the query to the teacher's pyramid. An auxiliary task teaches it where to
    look: from the decoded query, distinguish true instances from invented ones (binary
    cross-entropy) and, for the true ones, predict how far the sides of the box are from the
    blurred position (L1, relative to the box). Where the heads attend, the student's values
    should equal the teacher's:

    .. math::
        L = w \cdot \frac{1}{N M D} \sum_{n, m, d}
        \frac{\sum_s a_{nms} (\hat V^S_{nmsd} - \hat V^T_{nmsd})^2}{\sum_s a_{nms}}
        + w_{aux} (L_{identification} + L_{localisation})

    with the attention :math:`a` of a head summed over the true instances, and values of
    ``width / num_heads`` channels normalised to mean 0 and variance 1. See
    :func:`wkd_det.functional.attended_loss`.

    Convention:
        - The first part trains the student and its value projection; decoder, encoder and
          predictor learn only from the auxiliary task. The teacher gets no gradient.
        - Means over images, heads and channels; over instances; over true instances.
        - Invented instances are drawn at every call, from torch's random state.
        - A schedule scales only ``loss_weight``: the decoder goes on learning. The published
          code trains it for 1000 iterations before it distils:
          ``dict(type='TermScheduleHook', terms=['loss_icd.loss_weight'], by_epoch=False,
          warm_up=1000)`` comes close to it.

    Args:
        num_classes: Object classes; set by the tap.
        student_channels: Width of the student's pyramid; set by the tap.
        teacher_channels: Width of the teacher's pyramid; set by the tap.
        width: Width of queries and values, a multiple of 4.
        num_heads: Number of attention heads, a divisor of ``width``.
        invented_ratio: Invented instances per true one, >= 0; an image without objects gets one.
        max_instances: Most instances per image, >= 1; true ones are never left out.
        jitter: Largest shift of the position from the box's centre, in units of the box, >= 0.
        loss_weight: :math:`w`, >= 0; published: 3 for Faster R-CNN, 8 for one-stage detectors.
        auxiliary_weight: :math:`w_{aux}`, >= 0.

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
        super().__init__(loss_weight)
        check_nonnegative(
            invented_ratio=invented_ratio, jitter=jitter, auxiliary_weight=auxiliary_weight
        )
        check_integers(max_instances=max_instances, num_heads=num_heads, width=width)
        if width % num_heads or width % 4:
            raise ValueError(
                f'width must be a multiple of 4 and of num_heads, got {width} and {num_heads}'
            )
        self.width = plain_number(width)
        self.auxiliary_weight = plain_number(auxiliary_weight)
        self.sampler = InstanceSampler(
            num_classes, ratio=invented_ratio, limit=max_instances, jitter=jitter
        )
        self.encoder = InstanceEncoder(num_classes, self.width)
        self.decoder = InstanceDecoder(teacher_channels, self.width, plain_number(num_heads))
        self.student_value = Linear(student_channels, self.width)
        self.predictor = perceptron(self.width, self.width, 5)

    def forward(
        self,
        student: Sequence[Tensor],
        teacher: Sequence[Tensor],
        boxes: Sequence[Tensor],
        labels: Sequence[Tensor],
        image_sizes: Sequence[tuple[int, int]],
        mask: Sequence[Tensor] | None = None,
    ) -> Tensor:
        """Loss of a batch, scalar.

        Args:
            student: Maps of a pyramid, each ``(N, C_s, H, W)``.
            teacher: Maps of the same sizes, each ``(N, C_t, H, W)``.
            boxes: Corners of the objects in pixels, per image ``(G, 4)``.
            labels: Their classes, per image ``(G,)``.
            image_sizes: Height and width of each image without padding, in pixels.
            mask: Pixels that are not padding, bool, each ``(N, H, W)``; None for all.

        Raises:
            TypeError: If boxes or labels of an image are no tensor.
        """
        for index, (corners, classes) in enumerate(zip(boxes, labels)):
            check_tensors(**{f'boxes[{index}]': corners, f'labels[{index}]': classes})
        like = self.student_value.weight
        outside = [
            torch.zeros_like(level[:, 0], dtype=torch.bool) if mask is None else ~mask[index]
            for index, level in enumerate(teacher)
        ]
        with without_autocast(like):
            queried = self.sampler([own.to(like) for own in boxes], labels, image_sizes)
            decoded, attended, teacher_values = self.decoder(
                self.encoder(queried),
                _pixels(teacher, outside).to(like).detach(),
                _pixels([grid_code(level, self.width) for level in outside]).to(like),
                torch.cat([level.flatten(1) for level in outside], dim=1),
                queried.true,
            )
            student_values = self.decoder.heads(
                self.student_value(_pixels(student, outside).to(like))
            )
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
        instances, objects = (one.sum().clamp(min=1) for one in (queried.valid, queried.true))
        return identification / instances + localisation.sum() / objects


def _pixels(maps: Sequence[Tensor], outside: Sequence[Tensor] | None = None) -> Tensor:
    """Pixels of all levels in a row, shape ``(N, S, C)``; 0 in the padding."""
    if outside is not None:  # padding may hold anything, also inf
        maps = [level.masked_fill(out[:, None], 0) for level, out in zip(maps, outside)]
    return torch.cat([level.flatten(2).mT for level in maps], dim=1)
