"""What a feature pyramid says about an instance."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class InstanceDecoder(nn.Module):
    """One layer of a Transformer decoder without attention between the queries.

    Keys know where they are, values do not.

    Args:
        channels: Width of the pyramid.
        width: Of queries and values.
        num_heads: Divides ``width``.
    """

    def __init__(self, channels: int, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(channels, width)
        self.position = nn.Linear(width, width, bias=False)  # the key has one already
        self.value = nn.Linear(channels, width)
        self.out = nn.Linear(width, width)
        self.attention_norm = nn.LayerNorm(width)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, 4 * width), nn.ReLU(), nn.Linear(4 * width, width)
        )
        self.norm = nn.LayerNorm(width)

    def forward(
        self, queries: Tensor, features: Tensor, positions: Tensor, outside: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Decode.

        Args:
            queries: Shape ``(N, L, width)``.
            features: Pixels of all levels, shape ``(N, S, channels)``.
            positions: Their codes, shape ``(N, S, width)``.
            outside: Bool, shape ``(N, S)``: padding.

        Returns:
            The decoded queries ``(N, L, width)``, the attention of each head ``(N, M, L, S)`` and
            the values of each head ``(N, M, S, width / M)``.
        """
        query = self.heads(self.query(queries))
        key = self.heads(self.key(features) + self.position(positions))
        value = self.heads(self.value(features))
        scores = (query * query.shape[-1] ** -0.5) @ key.transpose(2, 3)
        # The lowest number, not -inf: a row without any pixel stays finite.
        lowest = torch.finfo(scores.dtype).min
        # In place, of the largest tensor here: its product needs no second look at it.
        attention = scores.masked_fill_(outside[:, None, None], lowest).softmax(dim=3)
        found = self.out((attention @ value).transpose(1, 2).flatten(2))
        decoded = self.attention_norm(queries + found)
        return self.norm(decoded + self.feed_forward(decoded)), attention, value

    def heads(self, vectors: Tensor) -> Tensor:
        """Split the channels: ``(N, S, width)`` to ``(N, M, S, width / M)``."""
        return vectors.unflatten(2, (self.num_heads, -1)).transpose(1, 2)
