"""Linear layers of the losses: at least float32, forward and backward, whatever autocast says."""

from __future__ import annotations

from torch import Tensor, nn

from wkd_det.ops.arithmetic import matrix_product, promote


class Linear(nn.Linear):
    """A linear layer whose gradient is computed without autocast, as its output is."""

    def forward(self, vectors: Tensor) -> Tensor:
        """Map vectors ``(..., inputs)`` to ``(..., outputs)``."""
        vectors, weight = promote(vectors, self.weight)
        product = matrix_product(vectors.flatten(0, -2), weight.mT)
        if self.bias is not None:
            product = product + self.bias.to(product)
        return product.unflatten(0, vectors.shape[:-1])
