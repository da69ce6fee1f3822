"""WKD-L of each sample and its gradient in one launch, for few classes and one cost for all.

Imported where it is used, since it needs triton;
:func:`wkd_det.losses.wkd_logit.wkd_logit_loss` is the reference.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from wkd_det.ops.scaling import GUARD

_PROGRAMS = 1024  # at most; each walks some samples and reads the kernel once
_ENTRIES = 64  # of the kernel in the registers of a thread


def fused_wkd_logit(
    student: Tensor, teacher: Tensor, cost: Tensor, target: Tensor | None, **options: float
) -> Tensor:
    """Values of WKD-L, shape ``(N,)``, in float32.

    A program holds the kernel in registers and walks samples. A round is a weighted sum of its rows
    and one of its columns, in float32: nothing is rounded to TF32.

    Args:
        student: Logits, shape ``(N, C)``, ``C`` at most
            :data:`~wkd_det.ops.fused.switch.MOST_CLASSES`; half precision is read as it is.
        teacher: Logits, shape ``(N, C)``; they get no gradient.
        cost: Class costs, shape ``(C, C)``; they get no gradient.
        target: Class indices for the separated form, int64, shape ``(N,)``.
        **options: The numbers ``temperature``, ``transport_weight``, ``epsilon``, ``num_iters``.

    Returns:
        Target part, if any, and weighted transport, summed. Differentiable once.
    """
    kernel = (cost.float() / -options['epsilon']).exp()
    return _WKDLogit.apply(student, teacher, kernel, target, options)


class _WKDLogit(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx,
        student: Tensor,
        teacher: Tensor,
        kernel: Tensor,
        target: Tensor | None,
        options: dict[str, float],
    ) -> Tensor:
        student, teacher = student.contiguous(), teacher.contiguous()
        samples, classes = student.shape
        width = max(16, triton.next_power_of_2(classes))
        wanted = ctx.needs_input_grad[0]
        rounds, programs = int(options['num_iters']), min(samples, _PROGRAMS)
        value = student.new_empty(samples, dtype=torch.float32)
        slope = torch.empty_like(student, dtype=torch.float32) if wanted else value
        # Sums of all rounds of the sample at hand, for the way back.
        shape = (programs, 2 * rounds, width) if wanted else (1,)
        sums = value.new_empty(shape)
        _wkd_logit_kernel[(programs,)](
            student, teacher, value if target is None else target.contiguous(),
            kernel.contiguous(), value, slope, sums,
            samples, classes, rounds, float(options['temperature']),
            float(options['transport_weight']), float(options['epsilon']), guard=GUARD,
            separated=target is not None, wanted=wanted, width=width,
            num_warps=max(1, width * width // (32 * _ENTRIES)),
        )  # fmt: skip
        ctx.save_for_backward(slope)
        ctx.dtype = student.dtype
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:
        (slope,) = ctx.saved_tensors
        return ((grad[:, None] * slope).to(ctx.dtype), *(None,) * 4)


@triton.jit
def _wkd_logit_kernel(
    student, teacher, target, kernel, value, slope, sums,
    samples, classes, rounds, temperature, transport_weight, epsilon, guard: tl.constexpr,
    separated: tl.constexpr, wanted: tl.constexpr, width: tl.constexpr,
):  # fmt: skip
    """Values of some samples, and if wanted their derivatives by the student's logits."""
    # The student's classes are rows of the kernel, the teacher's are columns.
    i, j = tl.arange(0, width), tl.arange(0, width)
    square = (i < classes)[:, None] & (j < classes)[None, :]
    entry = i[:, None] * classes + j[None, :]
    matrix = tl.load(kernel + entry, mask=square, other=0.0)
    own_sums = sums + tl.program_id(0).to(tl.int64) * (2 * rounds * width)
    for sample in range(tl.program_id(0), samples, tl.num_programs(0)):
        begin = sample * classes
        own = tl.load(student + begin + i, mask=i < classes, other=float('-inf')).to(tl.float32)
        other = tl.load(teacher + begin + j, mask=j < classes, other=float('-inf')).to(tl.float32)
        loss = 0.0
        weight = 0.0
        label = -1
        if separated:
            label = tl.load(target + sample).to(tl.int32)
            top = tl.max(own, 0)
            weight = tl.sum(tl.where(j == label, _softmax(other), 0.0), 0)
            log_total = tl.log(tl.sum(tl.exp(own - top), 0))
            loss = weight * (log_total + top - tl.sum(tl.where(i == label, own, 0.0), 0))
        source = _softmax(tl.where(i == label, float('-inf'), own / temperature))
        goal = _softmax(tl.where(j == label, float('-inf'), other / temperature))

        # The first row scaling is even over the classes that take part.
        left = tl.where((i < classes) & (i != label), 1.0, 0.0)
        left = left / tl.sum(left, 0)
        right = tl.zeros((width,), tl.float32)
        for index in range(rounds):
            sum_right = tl.sum(matrix * left[:, None], 0) + guard
            right = goal / sum_right
            sum_left = tl.sum(matrix * right[None, :], 1) + guard
            left = source / sum_left
            if wanted:
                tl.store(own_sums + 2 * index * width + j, sum_right)
                tl.store(own_sums + (2 * index + 1) * width + i, sum_left)
        # Costs from the kernel: a second matrix would leave the rounds no registers.
        priced = -epsilon * matrix * tl.log(tl.maximum(matrix, 1e-37))
        by_left = tl.sum(priced * right[None, :], 1)
        by_right = tl.sum(priced * left[:, None], 0)
        loss += transport_weight * tl.sum(left * by_left, 0)
        tl.store(value + sample, loss)

        if wanted:
            by_source = tl.zeros((width,), tl.float32)  # by its logarithms: logits, up to a shift
            tl.debug_barrier()  # the sums are there for all threads
            for back in range(rounds):
                index = rounds - 1 - back
                sum_right = tl.load(own_sums + 2 * index * width + j)
                sum_left = tl.load(own_sums + (2 * index + 1) * width + i)
                share = by_left * (source / sum_left)
                by_source += share
                by_right -= tl.sum(matrix * (share / sum_left)[:, None], 0)
                share = by_right * (goal / sum_right)
                by_left = -tl.sum(matrix * (share / sum_right)[None, :], 1)
                by_right = tl.zeros((width,), tl.float32)
            tl.debug_barrier()  # nobody reads them any more
            by_logits = by_source - source * tl.sum(by_source, 0)
            derivative = (transport_weight / temperature) * by_logits
            if separated:
                own = tl.load(student + begin + i, mask=i < classes, other=float('-inf'))
                probability = _softmax(own.to(tl.float32))
                derivative += weight * (probability - tl.where(i == label, 1.0, 0.0))
            tl.store(slope + begin + i, derivative, mask=i < classes)


@triton.jit
def _softmax(logits):
    weight = tl.exp(logits - tl.max(logits, 0))
    return weight / tl.sum(weight, 0)
