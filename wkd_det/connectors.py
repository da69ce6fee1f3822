"""Connectors: layers that bring a map of one network to width and size of the other network's."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from torch import Tensor, nn

from wkd_det.ops.batch_norm import normalise_single_values
from wkd_det.ops.checks import check_booleans, check_integers, is_integer

_BATCH_NORM = dict(type='BN')


class Connector(nn.Module):
    """Base of the connectors: from a map of one network to the width of the other's.

    A term builds one per pair of maps, with the widths ``student_channels`` and
    ``teacher_channels``. A constructor may also take ``student_size`` and ``teacher_size``, height
    and width of the maps; they are passed where they are known when the term is built, so give
    them a default. A connector that spans levels is built once, with a sequence of widths each.
    """

    spans_levels: ClassVar[bool] = False
    """Whether it takes all levels of a pyramid at once."""
    resizes: bool = False
    """Whether the result has the size that is asked for."""

    def forward(self, features: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Return the connected map.

        Args:
            features: Map of the network that is projected, shape ``(N, C, H, W)``; a list of
                them if the connector spans levels.
            size: Height and width of the other network's map, or one pair per level. Only
                connectors that resize need to look at it.

        Returns:
            Shape ``(N, C', H', W')`` with the other network's width; a list if it spans levels.
        """
        raise NotImplementedError


class IdentityConnector(Connector):
    """Passes features on unchanged.

    Args:
        student_channels: Width of the student's map.
        teacher_channels: Width of the teacher's map.

    Raises:
        ValueError: If the widths differ.
    """

    def __init__(self, student_channels: int, teacher_channels: int) -> None:
        super().__init__()
        if student_channels != teacher_channels:
            raise ValueError(
                'IdentityConnector needs equal widths, got student_channels='
                f'{student_channels} and teacher_channels={teacher_channels}'
            )

    def forward(self, features: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Return ``features``; ``size`` is not used."""
        return features


class ConvConnector(Connector):
    """Convolution, normalisation and activation, of a map that is resized if asked for.

    Args:
        student_channels: Width of the student's map.
        teacher_channels: Width of the teacher's map.
        kernel_size: Side of the kernel; odd, so that the map keeps its size.
        norm_cfg: Normalisation after the convolution, or None.
        act_cfg: Activation at the end, e.g. ``dict(type='ReLU')``, or None.
        resize: Interpolate (bilinear) to the other map's size before the convolution.

    Raises:
        TypeError: If ``norm_cfg`` or ``act_cfg`` is no dict with a type.
        ValueError: If ``kernel_size`` is no odd number from 1 on, or ``resize`` no boolean.

    References: 3 x 3 with batch normalisation: FCFD (Liu et al., ICLR 2023), as WKD uses it for
        detection; 1 x 1 with BN and ReLU: WKD on CIFAR-100.
    """

    def __init__(
        self,
        student_channels: int,
        teacher_channels: int,
        *,
        kernel_size: int = 1,
        norm_cfg: Mapping[str, Any] | None = _BATCH_NORM,
        act_cfg: Mapping[str, Any] | None = None,
        resize: bool = False,
    ) -> None:
        check_booleans(resize=resize)
        super().__init__()
        if not is_integer(kernel_size, 1) or kernel_size % 2 == 0:
            raise ValueError(f'kernel_size must be odd and positive, got {kernel_size!r}')
        kernel_size = int(kernel_size)
        self.conv = ConvModule(
            student_channels,
            teacher_channels,
            kernel_size,
            padding=kernel_size // 2,
            norm_cfg=_layer_config('norm_cfg', norm_cfg),
            act_cfg=_layer_config('act_cfg', act_cfg),
        )
        self.resizes = resize

    def forward(self, features: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Return ``(N, C_t, H, W)`` for ``(N, C_s, H, W)``; of size ``size`` if it resizes."""
        if self.resizes and size is not None and features.shape[-2:] != tuple(size):
            features = F.interpolate(features, size=size, mode='bilinear', align_corners=False)
        with normalise_single_values(self, features):
            return self.conv(features)


def _layer_config(name: str, config: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return a copy of the config of a layer, which mmcv changes; None stays None."""
    if config is None:
        return None
    if not isinstance(config, Mapping) or not isinstance(config.get('type'), (str, type)):
        raise TypeError(f'{name} must be a dict with a type, or None, got {config!r}')
    return dict(config)


class RegressorConnector(Connector):
    """Convolution that meets the teacher's size by its stride or kernel, BN and ReLU (FitNet).

    The sizes choose the convolution, which has a bias: 1 x 1 for equal ones, 3 x 3 of stride 2
    from twice the size, a transposed 4 x 4 of stride 2 from half the size, and otherwise one
    without padding whose kernel takes off what the student's map has too much.

    Args:
        student_channels: Width of the student's map.
        teacher_channels: Width of the teacher's map.
        student_size: Height and width of the student's map; set by the tap where it is known.
            Where one of the sizes is None, they count as equal.
        teacher_size: Height and width of the teacher's map; set by the tap.
        activate: Whether a ReLU follows.

    Raises:
        ValueError: If the student's map is smaller than the teacher's, but not half as high and
            wide.

    References: Romero et al., FitNets: Hints for Thin Deep Nets, ICLR 2015; the layers are those
        of RepDistiller.
    """

    def __init__(
        self,
        student_channels: int,
        teacher_channels: int,
        *,
        student_size: Sequence[int] | None = None,
        teacher_size: Sequence[int] | None = None,
        activate: bool = True,
    ) -> None:
        check_booleans(activate=activate)
        super().__init__()
        kind, options = _to_size(student_size, teacher_size)
        self.conv = kind(student_channels, teacher_channels, **options)
        self.norm = nn.BatchNorm2d(teacher_channels)
        self.activate = nn.ReLU() if activate else nn.Identity()

    def forward(self, features: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Return ``(N, C_t, H_t, W_t)`` for ``(N, C_s, H_s, W_s)``; ``size`` is not used."""
        projected = self.conv(features)
        with normalise_single_values(self, projected):
            return self.activate(self.norm(projected))


def _to_size(
    student: Sequence[int] | None, teacher: Sequence[int] | None
) -> tuple[type[nn.Module], dict[str, Any]]:
    """Kind and options of the convolution from one size, height and width, to another.

    Raises:
        ValueError: If there is none.
    """
    if student is None or teacher is None or tuple(student) == tuple(teacher):
        return nn.Conv2d, dict(kernel_size=1)
    pairs = list(zip(student, teacher))
    if all(own == 2 * other for own, other in pairs):
        return nn.Conv2d, dict(kernel_size=3, stride=2, padding=1)
    if all(2 * own == other for own, other in pairs):
        return nn.ConvTranspose2d, dict(kernel_size=4, stride=2, padding=1)
    if all(own >= other for own, other in pairs):
        return nn.Conv2d, dict(kernel_size=tuple(1 + own - other for own, other in pairs))
    raise ValueError(
        'RegressorConnector goes to the same, half, double or a smaller size, got student_size='
        f'{tuple(student)} and teacher_size={tuple(teacher)}: use ConvConnector with resize=True'
    )


class TransposedConvConnector(Connector):
    """4 x 4 transposed convolution of stride 2, batch normalisation and ReLU.

    Args:
        student_channels: Width of the student's map.
        teacher_channels: Width of the teacher's map, which is twice as high and wide.

    References: the projector of WKD on CIFAR-100 where the student's map is half the size.
    """

    def __init__(self, student_channels: int, teacher_channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ConvTranspose2d(
                student_channels, teacher_channels, 4, stride=2, padding=1, bias=False
            ),
            nn.BatchNorm2d(teacher_channels),
            nn.ReLU(),
        )

    def forward(self, features: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Return ``(N, C_t, 2 H, 2 W)`` for ``(N, C_s, H, W)``; ``size`` is not used."""
        with normalise_single_values(self, features):
            return self.layers(features)


class BottleneckConnector(Connector):
    """1 x 1, 3 x 3 and 1 x 1 convolution; batch normalisation and ReLU at the end only.

    Args:
        student_channels: Width of the student's map.
        teacher_channels: Width of the teacher's map.
        mid_channels: Width between the convolutions.

    Raises:
        ValueError: If ``mid_channels`` is not a positive integer.

    References: the projector of WKD on ImageNet.
    """

    def __init__(
        self, student_channels: int, teacher_channels: int, *, mid_channels: int = 256
    ) -> None:
        super().__init__()
        check_integers(mid_channels=mid_channels)
        mid_channels = int(mid_channels)
        plain = dict(norm_cfg=None, act_cfg=None, bias=False)
        self.layers = nn.Sequential(
            ConvModule(student_channels, mid_channels, 1, **plain),
            ConvModule(mid_channels, mid_channels, 3, padding=1, **plain),
            ConvModule(mid_channels, teacher_channels, 1, norm_cfg=dict(type='BN')),
        )

    def forward(self, features: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Return ``(N, C_t, H, W)`` for ``(N, C_s, H, W)``; ``size`` is not used."""
        with normalise_single_values(self, features):
            return self.layers(features)


class ABFConnector(Connector):
    r"""Fuses the levels of a pyramid from the top down, and maps each to the teacher's width.

    At each level the student's map passes a 1 x 1 convolution; below the top it is mixed with
    the fused map of the level above, enlarged to its size (nearest neighbour),

    .. math:: F_l = a_1 \odot conv_{1 \times 1}(S_l) + a_2 \odot up(F_{l+1}), \qquad
        (a_1, a_2) = sigmoid(conv_{1 \times 1}([conv_{1 \times 1}(S_l), up(F_{l+1})]))

    with one weight per pixel, and a 3 x 3 convolution of :math:`F_l` is compared with the teacher's
    level. Convolutions have batch normalisation and no activation; those of the attention
    have neither. For classifiers ``resize`` brings :math:`F_l` to the size of the teacher's map
    (nearest neighbour) before the 3 x 3 convolution and before it goes down; the coarsest level
    is the pooled features, a map of one pixel.

    Args:
        student_channels: Widths of the student's levels, from the largest map to the smallest.
        teacher_channels: Widths of the teacher's levels.
        mid_channels: Width of the fused maps; for classifiers the lesser of 512 and the width of
            the student's last map.
        resize: Bring the fused maps to the sizes of the teacher's.

    Raises:
        ValueError: If the numbers of levels differ or ``mid_channels`` is not a positive integer.

    References: Chen, Liu, Zhao, Jia, Distilling Knowledge via Knowledge Review, CVPR 2021,
        section 3.3; width 256, normalisation and initialisation are those of its detection code,
        ``resize`` is its code for classifiers.
    """

    spans_levels: ClassVar[bool] = True

    def __init__(
        self,
        student_channels: Sequence[int],
        teacher_channels: Sequence[int],
        *,
        mid_channels: int = 256,
        resize: bool = False,
    ) -> None:
        check_booleans(resize=resize)
        super().__init__()
        self.resizes = resize
        if len(student_channels) != len(teacher_channels):
            raise ValueError(
                'student_channels and teacher_channels must name the same number of levels, got '
                f'{len(student_channels)} and {len(teacher_channels)}'
            )
        check_integers(mid_channels=mid_channels)
        mid_channels = int(mid_channels)
        plain = dict(norm_cfg=dict(type='BN'), act_cfg=None)
        self.inward = nn.ModuleList(
            ConvModule(channels, mid_channels, 1, **plain) for channels in student_channels
        )
        self.attention = nn.ModuleList(
            nn.Conv2d(2 * mid_channels, 2, 1) for _ in student_channels[:-1]
        )
        self.outward = nn.ModuleList(
            ConvModule(mid_channels, channels, 3, padding=1, **plain)
            for channels in teacher_channels
        )
        for layer in (*self.inward, *self.outward):
            nn.init.kaiming_uniform_(layer.conv.weight, a=1)

    def forward(
        self, features: Sequence[Tensor], sizes: Sequence[tuple[int, int]] | None = None
    ) -> list[Tensor]:
        """Return levels ``(N, C_t, H, W)`` for ``(N, C_s, H, W)``; of ``sizes`` if it resizes."""
        fused: Tensor | None = None
        results = []
        for level in reversed(range(len(features))):
            with normalise_single_values(self, features[level]):
                own = self.inward[level](features[level])
                if fused is not None:
                    above = F.interpolate(fused, size=own.shape[-2:], mode='nearest')
                    weights = self.attention[level](torch.cat([own, above], dim=1)).sigmoid()
                    own = weights[:, :1] * own + weights[:, 1:] * above
                if self.resizes and sizes is not None and own.shape[-2:] != tuple(sizes[level]):
                    own = F.interpolate(own, size=sizes[level], mode='nearest')
                fused = own
                results.append(self.outward[level](fused))
        return results[::-1]


def adopt(connector: nn.Module) -> nn.Module:
    """Return a connector, with the members of :class:`Connector` added where it is none.

    Connectors could be plain modules before 0.2; these work until 0.3, with a warning.

    Args:
        connector: Any module that is called like a connector. It is changed in place, so that
            the keys of its checkpoints stay.
    """
    if isinstance(connector, Connector):
        return connector
    warnings.warn(
        f'{type(connector).__name__} is no wkd_det.connectors.Connector: derive it from that '
        'class; plain modules work until wkd_det 0.3',
        FutureWarning,
        stacklevel=2,
    )
    for name in ('spans_levels', 'resizes'):
        if not hasattr(connector, name):
            setattr(connector, name, False)
    return connector
