"""Rounds of matrix scaling, in numbers and in logarithms, with their gradient, block by block."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from wkd_det.ops.arithmetic import equal_parts, without_autocast

_PRODUCT_BLOCK_ELEMENTS = 2**22  # in the (rows, C, C) scratch of a block: 16 MiB in float32
_SCALING_BLOCK_ELEMENTS = 2**20  # in the scratch of a block of samples: 4 MiB in float32
_SCALING_BLOCK_ELEMENTS_OF_ACCELERATORS = 2**24  # 64 MiB: there, few launches count
_SCALING_BLOCK_SAMPLES = 128  # at least: a product with fewer rows waits for the kernel to be read
_GUARD = 1e-8  # keeps the divisions finite where the kernel underflows; the reference's value


def scaled_transport(
    source: Tensor,
    target: Tensor,
    kernel: Tensor,
    kernel_cost: Tensor,
    support: Tensor,
    num_iters: int,
) -> Tensor:
    r"""Cost of the transport plan after rounds of matrix scaling.

    .. math::
        v = q / (K^T u + \delta), \quad u = p / (K v + \delta), \qquad
        \text{result} = \sum_{ij} u_i (K C)_{ij} v_j

    with a guard :math:`\delta` of 1e-8; :math:`u` is uniform over the support at the start.

    Samples do not see each other, so they are walked in blocks, forward and at once backward:
    the derivative of each sample's result is kept until the gradient arrives, instead of the
    intermediate values of every round. Memory besides the result is that of the derivative and
    of one block. The gradient of the kernel is a sum over samples whose weights are known only
    when the gradient arrives: where it is needed, the walk is repeated then.

    Args:
        source: :math:`p`, shape ``(N, C)``.
        target: :math:`q`, shape ``(N, C)``.
        kernel: :math:`K`, shape ``(C, C)``, or ``(N, C, C)``, one per sample.
        kernel_cost: :math:`K C`, entry by entry, same shape as ``kernel``.
        support: Bool, shape ``(N, C)``.
        num_iters: Rounds, >= 1.

    Returns:
        Shape ``(N,)``. Differentiable once, by the first four arguments.
    """
    kernel_cost = kernel_cost if kernel.dim() == 3 else kernel_cost[None]
    source, target, kernel, support = _grouped(source, target, kernel, support)
    return _Scaling.apply(source, target, kernel, kernel_cost, support, num_iters).flatten()


@torch.no_grad()
def scaling_vectors(
    source: Tensor, target: Tensor, kernel: Tensor, support: Tensor, num_iters: int
) -> tuple[Tensor, Tensor]:
    """Return ``u`` and ``v`` after the rounds of :func:`scaled_transport`, each ``(N, C)``."""
    source, target, kernel, support = _grouped(source, target, kernel, support)
    whole = (slice(None), slice(None))
    no_cost = kernel  # right shape; the rounds do not read it
    walk = _Walk(source, target, kernel, no_cost, support, num_iters, whole)
    walk.rounds(keep=False)
    return tuple(vector.flatten(0, 1) for vector in (walk.row, walk.column))


def _grouped(
    source: Tensor, target: Tensor, kernel: Tensor, support: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Group samples that share a kernel: all in one group, or each sample in its own."""
    if kernel.dim() == 2:
        return source[None], target[None], kernel[None], support[None]
    return source[:, None], target[:, None], kernel, support[:, None]


class _Scaling(torch.autograd.Function):
    """Cost on marginals ``(G, n, C)`` and kernels ``(G, C, C)``."""

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        source: Tensor,
        target: Tensor,
        kernel: Tensor,
        kernel_cost: Tensor,
        support: Tensor,
        num_iters: int,
    ) -> Tensor:
        arguments = (source, target, kernel, kernel_cost, support)
        ctx.num_iters = num_iters
        ctx.later = any(ctx.needs_input_grad[2:4])
        slopes = [
            torch.zeros_like(marginal) if wanted and not ctx.later else None
            for marginal, wanted in zip((source, target), ctx.needs_input_grad)
        ]
        needed = any(slope is not None for slope in slopes)
        value = source.new_empty(source.shape[:2])
        for block in _sample_blocks(source, num_iters):
            walk = _Walk(*arguments, num_iters, block)
            value[block] = walk.forward(keep=needed)
            if needed:
                walk.backward(*slopes)
        ctx.save_for_backward(*(arguments if ctx.later else slopes))
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:
        if not ctx.later:
            slopes = [
                None if slope is None else grad[..., None] * slope for slope in ctx.saved_tensors
            ]
            return (*slopes, None, None, None, None)
        grads = [torch.zeros_like(tensor) for tensor in ctx.saved_tensors[:4]]
        with without_autocast(grad):  # backward() may be called inside an autocast block
            for block in _sample_blocks(ctx.saved_tensors[0], ctx.num_iters):
                walk = _Walk(*ctx.saved_tensors, ctx.num_iters, block)
                walk.forward(keep=True)
                walk.backward(*grads, seed=grad[block][..., None])
        return (*grads, None, None)


class _Walk:
    """A block of samples on its way through the rounds and back, in memory that is reused."""

    def __init__(
        self,
        source: Tensor,
        target: Tensor,
        kernel: Tensor,
        kernel_cost: Tensor,
        support: Tensor,
        num_iters: int,
        block: tuple[slice, slice],
    ) -> None:
        self.source, self.target, support = source[block], target[block], support[block]
        self.start = support.to(source) / support.sum(dim=2, keepdim=True).clamp(min=1)
        self.kernel, self.kernel_cost = kernel[block[0]], kernel_cost[block[0]]
        self.num_iters, self.block = num_iters, block

    def forward(self, *, keep: bool) -> Tensor:
        """Return the costs of the samples; with ``keep`` the way back stays open."""
        self.rounds(keep=keep)
        self.arriving = torch.bmm(self.column, self.kernel_cost.mT)
        return (self.row * self.arriving).sum(dim=2)

    def rounds(self, *, keep: bool) -> None:
        """Scale rows and columns in turns; with ``keep`` remember every sum."""
        kernel, transposed = self.kernel, self.kernel.mT
        row, column = self.start.clone(), torch.empty_like(self.target)
        self.sums = []
        for _ in range(self.num_iters):
            if keep or not self.sums:
                column_sum, row_sum = torch.empty_like(row), torch.empty_like(row)
                self.sums.append((column_sum, row_sum))
            torch.bmm(row, kernel, out=column_sum).add_(_GUARD)
            torch.div(self.target, column_sum, out=column)
            torch.bmm(column, transposed, out=row_sum).add_(_GUARD)
            torch.div(self.source, row_sum, out=row)
        self.row, self.column = row, column

    def backward(
        self,
        by_source: Tensor | None,
        by_target: Tensor | None,
        by_kernel: Tensor | None = None,
        by_kernel_cost: Tensor | None = None,
        *,
        seed: Tensor | None = None,
    ) -> None:
        """Add the derivatives of the results, times ``seed`` or 1, to the arguments."""
        kernel, transposed = self.kernel, self.kernel.mT
        by_source = None if by_source is None else by_source[self.block]
        by_target = None if by_target is None else by_target[self.block]
        by_kernel = None if by_kernel is None else by_kernel[self.block[0]]
        row, column = self.row, self.column
        grad_row, grad_column = self.arriving, torch.bmm(row, self.kernel_cost)
        if seed is not None:
            grad_row *= seed
            grad_column *= seed
        if by_kernel_cost is not None:
            by_kernel_cost[self.block[0]].baddbmm_((row * seed).mT, column)
        is_last = True  # only in the last round the result reads the column too
        while self.sums:
            column_sum, row_sum = self.sums.pop()
            # row = source / (column @ kernel.t() + guard)
            grad_row /= row_sum
            if by_source is not None:
                by_source += grad_row
            grad_row *= row  # less the gradient of the sum
            if by_kernel is not None:
                by_kernel.baddbmm_(grad_row.mT, column, alpha=-1)
            grad_column.baddbmm_(grad_row, kernel, beta=float(is_last), alpha=-1)
            is_last = False
            # column = target / (previous row @ kernel + guard)
            grad_column /= column_sum
            if by_target is not None:
                by_target += grad_column
            if not self.sums and by_kernel is None:
                break  # the first row is given
            grad_column *= column
            row = torch.div(self.source, self.sums[-1][1], out=row) if self.sums else self.start
            if by_kernel is not None:
                by_kernel.baddbmm_(row.mT, grad_column, alpha=-1)
            if self.sums:
                grad_row.baddbmm_(grad_column, transposed, beta=0, alpha=-1)
                torch.div(self.target, self.sums[-1][0], out=column)


def _sample_blocks(marginal: Tensor, num_iters: int) -> list[tuple[slice, slice]]:
    """Cut groups, or the samples of the only group, into parts of about equal size."""
    groups, samples, classes = marginal.shape
    on_cpu = marginal.device.type == 'cpu'
    elements = _SCALING_BLOCK_ELEMENTS if on_cpu else _SCALING_BLOCK_ELEMENTS_OF_ACCELERATORS
    most = max(_SCALING_BLOCK_SAMPLES, elements // max(2 * num_iters * classes, 1))
    if groups == 1:
        return [(slice(None), part) for part in equal_parts(samples, most)]
    return [(part, slice(None)) for part in equal_parts(groups, most)]


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
