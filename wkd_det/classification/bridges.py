"""Bridges: connectors from a stage of one network into the next stage of the other."""

from __future__ import annotations

from torch import Tensor, nn

from wkd_det.connectors import Connector
from wkd_det.ops.batch_norm import normalise_single_values
from wkd_det.ops.checks import check_booleans

_SLOPE = 0.1  # of the leaky ReLU


class BridgeConnector(Connector):
    """3 x 3 convolution and batch normalisation to a map that the other network could have made.

    A map of twice the other's sides is halved by a stride of 2, one of half of them is doubled by
    a transposed convolution of 4 x 4. Where the other network's map comes out of a ReLU, a leaky
    ReLU (slope 0.1) follows.

    Args:
        student_channels: Width of the map.
        teacher_channels: Width of the other network's map.
        student_size: Height and width of the map, where they are known.
        teacher_size: Those of the other network's map.
        rectified: Whether the other network's map comes out of a ReLU; the taps
            ``crossed_logits`` and ``crossed_features`` say it.

    Raises:
        ValueError: If sizes are neither equal nor in a ratio of 2, or ``rectified`` is no boolean.

    References: Liu, Kan, Shan, Chen, Function-Consistent Feature Distillation, ICLR 2023; layers
        and initialisation are those of its code for classification.
    """

    def __init__(
        self,
        student_channels: int,
        teacher_channels: int,
        *,
        student_size: tuple[int, int] | None = None,
        teacher_size: tuple[int, int] | None = None,
        rectified: bool = True,
    ) -> None:
        check_booleans(rectified=rectified)
        super().__init__()
        widths = student_channels, teacher_channels
        convolution = _convolution(*widths, student_size, teacher_size)
        nn.init.kaiming_normal_(convolution.weight, mode='fan_out', nonlinearity='relu')
        self.layers = nn.Sequential(convolution, nn.BatchNorm2d(teacher_channels))
        if rectified:
            self.layers.append(nn.LeakyReLU(_SLOPE))

    def forward(self, features: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Return ``(N, C_t, H', W')`` for ``(N, C_s, H, W)``; ``size`` is not used."""
        convolution = self.layers[0]
        stride = convolution.stride[0] if isinstance(convolution, nn.Conv2d) else 1
        with normalise_single_values(self, features[:, :, ::stride, ::stride]):
            return self.layers(features)


def _convolution(
    source: int, target: int, size: tuple[int, int] | None, other: tuple[int, int] | None
) -> nn.Module:
    if size is None or other is None or tuple(size) == tuple(other):
        return nn.Conv2d(source, target, 3, padding=1, bias=False)
    if all(own == 2 * wanted for own, wanted in zip(size, other)):
        return nn.Conv2d(source, target, 3, stride=2, padding=1)
    if all(2 * own == wanted for own, wanted in zip(size, other)):
        return nn.ConvTranspose2d(source, target, 4, stride=2, padding=1)
    raise ValueError(
        'BridgeConnector takes maps of equal sides, or twice or half those of the other, got '
        f'{size[0]} x {size[1]} and {other[0]} x {other[1]}'
    )
