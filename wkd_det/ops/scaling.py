"""Rounds of matrix scaling, in numbers and in logarithms, with their gradient, block by block."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from wkd_det.ops.arithmetic import equal_parts, without_autocast

_PRODUCT_BLOCK_ELEMENTS = 2**22  # in the (rows, C, C) scratch of a block: 16 MiB in float32
_SCALING_BLOCK_ELEMENTS = 2**20  # in the scratch of a block of samples: 4 MiB in float32
_SCALING_BLOCK_ELEMENTS_OF_ACCELERATORS = 2**26  # 256 MiB: there, few launches count
_SCALING_BLOCK_SAMPLES = 128  # at least: a product with fewer rows waits for the kernel to be read
GUARD = 1e-8  # keeps the divisions finite where the kernel underflows; the reference's value


def scaled_transport(
    source: Tensor,
    target: Tensor,
    kernel: Tensor,
    kernel_cost: Tensor,
    start: Tensor,
    num_iters: int,
) -> Tensor:
    r"""Cost of the transport plan after rounds of matrix scaling.

    .. math::
        v = q / (K^T u + \delta), \quad u = p / (K v + \delta), \qquad
        \text{result} = \sum_{ij} u_i (K C)_{ij} v_j

    with a guard :math:`\delta` of 1e-8.

    Samples do not see each other, so they are walked in blocks, forward and at once backward:
    the derivative of each sample's result is kept until the gradient arrives, instead of the
    intermediate values of every round. Memory besides the result is that of the derivative and
    of one block. The gradient of the kernel is a sum over samples whose weights are known only
    when the gradient arrives: where it is needed, the walk is repeated then.

    A half round is a product and a division, forward and backward: what can be done for all rounds
    at once is.

    Args:
        source: :math:`p`, shape ``(N, C)``.
        target: :math:`q`, shape ``(N, C)``.
        kernel: :math:`K`, shape ``(C, C)``, or ``(N, C, C)``, one per sample.
        kernel_cost: :math:`K C`, entry by entry, same shape as ``kernel``.
        start: First :math:`u`, shape ``(N, C)``; it gets no gradient.
        num_iters: Rounds, >= 1.

    Returns:
        Shape ``(N,)``. Differentiable once, by the first four arguments.
    """
    vectors = _aligned(kernel, source, target)
    value = _Scaling.apply(*vectors, kernel, kernel_cost, *_aligned(kernel, start), num_iters)
    return value.flatten()


@torch.no_grad()
def scaling_vectors(
    source: Tensor, target: Tensor, kernel: Tensor, start: Tensor, num_iters: int
) -> tuple[Tensor, Tensor]:
    """Return ``u`` and ``v`` after the rounds of :func:`scaled_transport`, each ``(N, C)``."""
    source, target, start = _aligned(kernel, source, target, start)
    no_cost = kernel  # right shape; the rounds do not read it
    walk = _Walk(source, target, kernel, no_cost, start, num_iters, slice(None))
    walk.rounds(keep=False)
    return tuple(vector.flatten(0, -2) for vector in (walk.row, walk.column))


def _aligned(kernel: Tensor, *vectors: Tensor) -> tuple[Tensor, ...]:
    """Return vectors as factors of the kernel: rows of a matrix, or a matrix of one row each."""
    return vectors if kernel.dim() == 2 else tuple(vector[:, None] for vector in vectors)


class _Scaling(torch.autograd.Function):
    """Cost on marginals ``(N, C)`` and kernels ``(C, C)``, or ``(N, 1, C)`` and ``(N, C, C)``."""

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        source: Tensor,
        target: Tensor,
        kernel: Tensor,
        kernel_cost: Tensor,
        start: Tensor,
        num_iters: int,
    ) -> Tensor:
        arguments = (source, target, kernel, kernel_cost, start)
        ctx.num_iters = num_iters
        ctx.later = any(ctx.needs_input_grad[2:4])
        wanted = [not ctx.later and needed for needed in ctx.needs_input_grad[:2]]
        values, slopes = [], []
        for block in _sample_blocks(source, num_iters):
            walk = _Walk(*arguments, num_iters, block)
            values.append(walk.forward(keep=any(wanted)))
            if any(wanted):
                slopes.append(walk.backward(*wanted))
        ctx.save_for_backward(*(arguments if ctx.later else map(_joined, zip(*slopes))))
        return _joined(values)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:
        if not ctx.later:
            slopes = [
                None if slope is None else grad[..., None] * slope for slope in ctx.saved_tensors
            ]
            return (*slopes, None, None, None, None)
        source, _, kernel, kernel_cost, _ = ctx.saved_tensors
        matrices = torch.zeros_like(kernel), torch.zeros_like(kernel_cost)
        slopes = []
        with without_autocast(grad):  # backward() may be called inside an autocast block
            for block in _sample_blocks(source, ctx.num_iters):
                walk = _Walk(*ctx.saved_tensors, ctx.num_iters, block)
                walk.forward(keep=True)
                slopes.append(walk.backward(True, True, *matrices, seed=grad[block][..., None]))
        return (*map(_joined, zip(*slopes)), *matrices, None, None)


class _Walk:
    """A block of samples on its way through the rounds and back.

    The scalings are numbered in the order in which they are made: column, row, column, ...; each
    is a marginal divided by the sum of its number.
    """

    def __init__(
        self,
        source: Tensor,
        target: Tensor,
        kernel: Tensor,
        kernel_cost: Tensor,
        start: Tensor,
        num_iters: int,
        block: slice,
    ) -> None:
        self.shared = kernel.dim() == 2
        self.block = slice(None) if self.shared else block  # of the matrices
        self.marginals = target[block], source[block]
        self.start = start[block]
        self.kernel, self.kernel_cost = kernel[self.block], kernel_cost[self.block]
        self.num_iters = num_iters
        self.product, self.add_product = (
            (torch.mm, torch.addmm) if self.shared else (torch.bmm, torch.baddbmm)
        )

    def forward(self, *, keep: bool) -> Tensor:
        """Return the costs of the samples; with ``keep`` the way back stays open."""
        self.rounds(keep=keep)
        out = self.slopes[-1] if keep else None
        arriving = self.product(self.column, self.kernel_cost.mT, out=out)
        pairs = self.row.flatten(0, -2)[:, None, :], arriving.flatten(0, -2)[:, :, None]
        return torch.bmm(*pairs).view(self.row.shape[:-1])

    def rounds(self, *, keep: bool) -> None:
        """Scale columns and rows in turns; with ``keep`` remember every scaling and its sum."""
        steps = 2 * self.num_iters
        guard = self.start.new_full(self.start.shape[-1:], GUARD)  # as a bias: one launch
        matrices = self.kernel, self.kernel.mT
        scaling, before = self.start, None
        sums = scalings = [None] * steps
        if keep:
            shape = (steps, *self.start.shape)
            self.sums, self.scalings, self.slopes = (self.start.new_empty(shape) for _ in range(3))
            sums, scalings = self.sums.unbind(), self.scalings.unbind()
        for step in range(steps):
            total = self.add_product(guard, scaling, matrices[step % 2], out=sums[step])
            before = scaling
            scaling = torch.div(self.marginals[step % 2], total, out=scalings[step])
        self.row, self.column = scaling, before

    def backward(
        self,
        by_source: bool,
        by_target: bool,
        by_kernel: Tensor | None = None,
        by_kernel_cost: Tensor | None = None,
        *,
        seed: Tensor | None = None,
    ) -> tuple[Tensor | None, Tensor | None]:
        """Return derivatives of the results, times ``seed`` or 1, by source and target.

        Those by the matrices are added to what is given.
        """
        row, column, slopes = self.row, self.column, self.slopes.unbind()
        whole = by_kernel is not None
        # The result reads the last row and the last column.
        self.product(row, self.kernel_cost, out=slopes[-2])
        if seed is not None:
            self.slopes[-2:] *= seed
            self._add(by_kernel_cost, row * seed, column)
        shares = torch.div(self.scalings, self.sums, out=None if whole else self.scalings)
        scratch = torch.empty_like(row)
        matrices = self.kernel, self.kernel.mT
        least = 0 if whole else 1 if by_target else 2  # the start has no derivative
        for step in range(2 * self.num_iters - 1, least - 1, -1):
            # A scaling is its marginal divided by (scaling before @ matrix + guard).
            by_sum = torch.mul(slopes[step], shares[step], out=scratch)  # less its sign
            if whole:
                before = self.scalings[step - 1] if step else self.start
                pair = (by_sum, before) if step % 2 else (before, by_sum)
                self._add(by_kernel, *pair, alpha=-1)
            if step:
                self.add_product(
                    slopes[step - 1],
                    by_sum,
                    matrices[1 - step % 2],
                    beta=float(step == 2 * self.num_iters - 1),
                    alpha=-1,
                    out=slopes[step - 1],
                )
        wanted = (by_source, slice(1, None, 2)), (by_target, slice(0, None, 2))
        return tuple(
            self.slopes[steps].div_(self.sums[steps]).sum(dim=0) if needed else None
            for needed, steps in wanted
        )

    def _add(self, total: Tensor, left: Tensor, right: Tensor, alpha: float = 1.0) -> None:
        """Add products of vectors to the one matrix that is shared, or to those of the samples."""
        add = torch.Tensor.addmm_ if self.shared else torch.Tensor.baddbmm_
        add(total[self.block], left.mT, right, alpha=alpha)


def _sample_blocks(marginal: Tensor, num_iters: int) -> list[slice]:
    """Cut samples into parts of about equal size."""
    on_cpu = marginal.device.type == 'cpu'
    elements = _SCALING_BLOCK_ELEMENTS if on_cpu else _SCALING_BLOCK_ELEMENTS_OF_ACCELERATORS
    of_sample = 8 * num_iters * marginal.shape[-1]  # sums, scalings, slopes and shares
    most = max(_SCALING_BLOCK_SAMPLES, elements // of_sample)
    return equal_parts(marginal.shape[0], most) or [slice(0, 0)]


def _joined(parts: Sequence[Tensor | None]) -> Tensor | None:
    """Concatenate what the blocks give; one block alone is not copied."""
    return parts[0] if len(parts) == 1 or parts[0] is None else torch.cat(parts)


def log_matmul_exp(left: Tensor, right: Tensor) -> Tensor:
    r"""Matrix product on logarithms: ``log(exp(left) @ exp(right))`` without underflow.

    .. math:: y_{nj} = \log \sum_i \exp(a_{ni} + b_{ij})

    The ``(N, I, J)`` sum is walked in blocks of samples, forward and backward, so memory is
    bounded whatever ``N`` is.

    Args:
        left: Shape ``(N, I)``; ``-inf`` stands for 0.
        right: Shape ``(I, J)``, or ``(N, I, J)``: one matrix per row of ``left``.
            ``-inf`` stands for 0.

    Returns:
        Shape ``(N, J)``, ``-inf`` where nothing is summed.
    """
    return _LogMatmulExp.apply(left, right)


class _LogMatmulExp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, left: Tensor, right: Tensor) -> Tensor:
        out = left.new_empty(left.shape[0], right.shape[-1])
        for rows in _row_blocks(left, right):
            torch.logsumexp(left[rows, :, None] + _factor(right, rows), dim=1, out=out[rows])
        ctx.save_for_backward(left, right, out)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        left, right, out = ctx.saved_tensors
        empty = out == -torch.inf  # no term, no gradient
        grad = grad.masked_fill(empty, 0)
        out = out.masked_fill(empty, 0)
        grad_left = torch.zeros_like(left)
        grad_right = torch.zeros_like(right) if ctx.needs_input_grad[1] else None
        for rows in _row_blocks(left, right):
            share = (left[rows, :, None] + _factor(right, rows) - out[rows, None, :]).exp_()
            share *= grad[rows, None, :]
            grad_left[rows] = share.sum(dim=2)
            _add_rows(grad_right, share, rows)
        return grad_left, grad_right


def log_plan_cost(log_row: Tensor, log_column: Tensor, log_kernel: Tensor, cost: Tensor) -> Tensor:
    r"""Cost of the plans that logarithms of scalings and kernel describe.

    .. math::
        P_{nij} = \exp(a_{ni} + k_{ij} + b_{nj}), \qquad \text{result}_n = \sum_{ij} P_{nij} C_{ij}

    The costs are factors here, not logarithms, so one of 0 has the gradient :math:`P_{nij}` like
    any other. Plans are built in blocks of samples, forward and backward, so memory is bounded
    whatever ``N`` is.

    Args:
        log_row: :math:`a`, shape ``(N, I)``; ``-inf`` stands for 0.
        log_column: :math:`b`, shape ``(N, J)``; ``-inf`` stands for 0.
        log_kernel: :math:`k`, shape ``(I, J)``, or ``(N, I, J)``, one per sample.
        cost: :math:`C`, same shape as ``log_kernel``.

    Returns:
        Shape ``(N,)``. Differentiable once, by all arguments.
    """
    return _LogPlanCost.apply(log_row, log_column, log_kernel, cost)


class _LogPlanCost(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx, log_row: Tensor, log_column: Tensor, log_kernel: Tensor, cost: Tensor
    ) -> Tensor:
        out = log_row.new_empty(log_row.shape[0])
        for rows in _row_blocks(log_row, log_kernel):
            plan = _plan(log_row, log_column, log_kernel, rows)
            torch.sum(plan.mul_(_factor(cost, rows)), dim=(1, 2), out=out[rows])
        ctx.save_for_backward(log_row, log_column, log_kernel, cost)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:
        log_row, log_column, log_kernel, cost = ctx.saved_tensors
        grad_row, grad_column = torch.empty_like(log_row), torch.empty_like(log_column)
        grad_kernel, grad_cost = (
            torch.zeros_like(cost) if wanted else None for wanted in ctx.needs_input_grad[2:]
        )
        for rows in _row_blocks(log_row, log_kernel):
            share = _plan(log_row, log_column, log_kernel, rows).mul_(grad[rows, None, None])
            _add_rows(grad_cost, share, rows)
            share *= _factor(cost, rows)
            _add_rows(grad_kernel, share, rows)
            torch.sum(share, dim=2, out=grad_row[rows])
            torch.sum(share, dim=1, out=grad_column[rows])
        return grad_row, grad_column, grad_kernel, grad_cost


def _plan(log_row: Tensor, log_column: Tensor, log_kernel: Tensor, rows: slice) -> Tensor:
    plan = log_row[rows, :, None] + _factor(log_kernel, rows)
    return plan.add_(log_column[rows, None, :]).exp_()


def _add_rows(total: Tensor | None, parts: Tensor, rows: slice) -> None:
    """Add matrices, one per row, to the one matrix that is shared or to those of the rows."""
    if total is not None:
        _factor(total, rows).add_(parts if total.dim() == 3 else parts.sum(dim=0))


def _factor(right: Tensor, rows: slice) -> Tensor:
    return right[rows] if right.dim() == 3 else right


def _row_blocks(left: Tensor, right: Tensor) -> list[slice]:
    return equal_parts(left.shape[0], _PRODUCT_BLOCK_ELEMENTS // max(right.shape[-2:].numel(), 1))
