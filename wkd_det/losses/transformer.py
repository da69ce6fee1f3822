"""The block of a Vision Transformer, for small networks that train with a student."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from wkd_det.losses.linear import Linear
from wkd_det.ops.arithmetic import matrix_product
from wkd_det.ops.checks import check_integers


class TransformerBlock(nn.Module):
    """Attention between all tokens and a perceptron, each of normalised tokens and added to them.

    Args:
        width: Width of the tokens.
        num_heads: Number of attention heads, a divisor of ``width``.
        exact: Whether outputs and gradients are computed without autocast, as losses do.

    Raises:
        ValueError: If ``width`` is no multiple of ``num_heads``.

    References: Dosovitskiy et al., An Image is Worth 16x16 Words, ICLR 2021.
    """

    def __init__(self, width: int, num_heads: int, *, exact: bool) -> None:
        super().__init__()
        check_integers(width=width, num_heads=num_heads)
        if width % num_heads:
            raise ValueError(f'width must be a multiple of {num_heads}, got {width}')
        linear = Linear if exact else nn.Linear
        self.width = width
        self.num_heads = num_heads
        self.attend = _attended if exact else F.scaled_dot_product_attention
        self.attention_norm = nn.LayerNorm(width)
        self.query_key_value = linear(width, 3 * width, bias=False)
        self.out = linear(width, width)
        self.perceptron = nn.Sequential(
            nn.LayerNorm(width), linear(width, 4 * width), nn.GELU(), linear(4 * width, width)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """Return tokens ``(N, L, width)`` for such."""
        parts = self.query_key_value(self.attention_norm(tokens)).chunk(3, dim=2)
        heads = (part.unflatten(2, (self.num_heads, -1)).transpose(1, 2) for part in parts)
        found = self.attend(*heads)
        tokens = tokens + self.out(found.transpose(1, 2).flatten(2))
        return tokens + self.perceptron(tokens)


def _attended(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    weights = matrix_product(query * query.shape[-1] ** -0.5, key.mT).softmax(dim=-1)
    return matrix_product(weights, value)
