"""The block of a Vision Transformer: against PyTorch's attention, exact or not."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from wkd_det.losses.transformer import TransformerBlock


@pytest.mark.parametrize('exact', [True, False])
def test_attention_is_that_of_pytorch(exact):
    torch.manual_seed(0)
    block, tokens = TransformerBlock(8, 4, exact=exact), torch.randn(2, 5, 8)
    attention = nn.MultiheadAttention(8, 4, bias=False, batch_first=True)
    with torch.no_grad():
        attention.in_proj_weight.copy_(block.query_key_value.weight)
        attention.out_proj.weight.copy_(block.out.weight)
    normed = block.attention_norm(tokens)
    expected = tokens + attention(normed, normed, normed)[0] + block.out.bias
    assert_close(block(tokens), expected + block.perceptron(expected))


def test_a_width_that_heads_do_not_divide():
    with pytest.raises(ValueError, match='^width must be a multiple of 4, got 6$'):
        TransformerBlock(6, 4, exact=True)
