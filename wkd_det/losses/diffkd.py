"""DiffKD: the student's features or logits, denoised by a diffusion model of the teacher's."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from wkd_det.losses.base import Loss
from wkd_det.losses.diffkd_networks import Autoencoder, Mixture, Noise, NoiseNetwork, normalised
from wkd_det.losses.fitnet import fitnet_loss
from wkd_det.losses.kd import kd_loss
from wkd_det.ops.arithmetic import without_autocast
from wkd_det.ops.batch_norm import normalise_single_values
from wkd_det.ops.checks import check_integers, check_logits, check_maps, plain_number
from wkd_det.ops.diffusion import TIMES, denoised, diffused, kept_shares


class _DiffusionLoss(Loss):
    """Denoising of one map: the modules and the three parts that both losses share."""

    def __init__(
        self,
        student_channels: int,
        hidden_channels: int,
        *,
        on_vectors: bool,
        num_steps: int,
        loss_weight: float,
    ) -> None:
        super().__init__(loss_weight)
        check_integers(num_steps=num_steps)
        if 2 * num_steps > TIMES:
            raise ValueError(f'num_steps must be at most {TIMES // 2}, got {num_steps}')
        self.num_steps = plain_number(num_steps)
        self.project = nn.Conv2d(student_channels, hidden_channels, 1)
        self.mixture = Mixture(hidden_channels, on_vectors)
        self.network = NoiseNetwork(hidden_channels, on_vectors)
        self.refine = normalised(hidden_channels, hidden_channels, 1)
        self.register_buffer('shares', kept_shares(), persistent=False)

    def _denoised(self, student: Tensor, noise: Tensor) -> Tensor:
        """Return the student's map in the hidden width, denoised, shape ``(N, C', H, W)``."""
        noisy = self.mixture(self.project(student), noise)
        return self.refine(denoised(noisy, self.network, self.shares, num_steps=self.num_steps))

    def _noise_error(self, hidden: Tensor, drawn: Noise, mask: Tensor | None = None) -> Tensor:
        """Return the mean squared error of the network on the teacher's map plus noise."""
        noisy = diffused(hidden, drawn.teacher, self.shares[drawn.times])
        return _mean_square(self.network(noisy, drawn.times), drawn.teacher, mask)


def _mean_square(found: Tensor, wanted: Tensor, mask: Tensor | None) -> Tensor:
    return 2 * fitnet_loss(found, wanted, mask=mask)


class DiffKDLoss(_DiffusionLoss):
    r"""Squared distance between the teacher's features and the student's after denoising (DiffKD).

    The student's features count as noisy ones of the teacher, and a small diffusion model that
    learns from the teacher's removes the noise:

    .. math::
        L = MSE(r(x_0), t) + MSE(\epsilon_\theta(\sqrt{a_\tau} t + \sqrt{1 - a_\tau} n, \tau), n)
        + MSE(dec(enc(F_T)), F_T)

    with the student's map in the hidden width, mixed with noise in a share :math:`\gamma` that
    is predicted per image, :math:`x = \gamma\, conv(F_S) + (1 - \gamma) \epsilon`; its denoised
    form :math:`x_0` after ``num_steps`` steps of DDIM, refined by :math:`r` (a convolution with
    normalisation); the teacher's hidden map :math:`t = enc(F_T)`, of which no gradient is taken;
    times :math:`\tau` drawn from 0 to 999 per image and normal noise :math:`n, \epsilon`.

    Convention:
        - Means over images, channels and pixels.
        - Nothing but the target :math:`t` is detached: the diffusion model learns from the first
          two parts, the encoder and decoder from the last, the student from the first.
        - :math:`\gamma` and :math:`1 - \gamma` are not square roots, and the 1000 noise levels
          of the variance (linear from 1e-4 to 2e-2) are float32, as in the authors' code. DDIM
          starts in the middle of them: at 400, 300, ... for 5 steps.
        - Noise and times come from torch's random state at every call.
        - Batch normalisations of the diffusion model see ``num_steps`` + 1 batches per step. One
          image of a single pixel is normalised by the running statistics.
        - Everything is computed in the precision of the weights, without autocast.

    Args:
        student_channels: Width of the student's map; set by the tap.
        teacher_channels: Width of the teacher's map; set by the tap.
        hidden_channels: Width in which maps are compared; at least 8.
        num_steps: Steps of denoising, from 1 to 500; each runs the diffusion model once.
        loss_weight: Factor of the loss, >= 0.

    Raises:
        ValueError: If a number is outside its range.

    References: Huang et al., Knowledge Diffusion for Distillation, NeurIPS 2023; layers, numbers
        and reductions are those of its code (weight 1 for ImageNet, next to the same on logits).
    """

    takes: ClassVar[str] = 'features'
    mixes_widths: ClassVar[bool] = True

    def __init__(
        self,
        *,
        student_channels: int,
        teacher_channels: int,
        hidden_channels: int = 1024,
        num_steps: int = 5,
        loss_weight: float = 1.0,
    ) -> None:
        check_integers(8, hidden_channels=hidden_channels)
        hidden_channels = plain_number(hidden_channels)
        super().__init__(
            student_channels,
            hidden_channels,
            on_vectors=False,
            num_steps=num_steps,
            loss_weight=loss_weight,
        )
        self.autoencoder = Autoencoder(teacher_channels, hidden_channels)

    def forward(self, student: Tensor, teacher: Tensor, mask: Tensor | None = None) -> Tensor:
        """Loss of maps ``(N, C_s, H, W)`` and ``(N, C_t, H, W)``, scalar.

        ``mask``, bool ``(N, H, W)``, says which pixels count; others are 0 on both sides.
        """
        check_maps(student, teacher, mask, same_width=False)
        if len(student) == 0:
            return student.sum() * 0.0
        with without_autocast(student), normalise_single_values(self, student):
            if mask is not None:  # padding may hold anything, also inf
                student, teacher = (m.masked_fill(~mask[:, None], 0) for m in (student, teacher))
            student, teacher = (m.to(self.project.weight) for m in (student, teacher.detach()))
            hidden, restored = self.autoencoder(teacher)
            drawn = Noise.like(hidden)
            parts = (
                _mean_square(self._denoised(student, drawn.student), hidden, mask),
                self._noise_error(hidden, drawn, mask),
                _mean_square(restored, teacher, mask),
            )
            return self.loss_weight * sum(parts)


class DiffKDLogitLoss(_DiffusionLoss):
    r"""Divergence of class distributions after denoising of the student's logits (DiffKD).

    As :class:`DiffKDLoss` with logits in place of maps, without an encoder, and with

    .. math:: KL(softmax(z_T) \Vert softmax(r(x_0)))

    in place of the first part.

    Convention:
        - Mean over samples, sum over classes in the divergence; mean over both in the other part.
        - The rest is as :class:`DiffKDLoss` says it. A single sample is normalised by the running
          statistics.

    Args:
        num_classes: Number of logits; set by the tap.
        num_steps: Steps of denoising, from 1 to 500; each runs the diffusion model once.
        loss_weight: Factor of the loss, >= 0.

    Raises:
        ValueError: If a number is outside its range.

    References: Huang et al., Knowledge Diffusion for Distillation, NeurIPS 2023; layers, numbers
        and reductions are those of its code.
    """

    takes: ClassVar[str] = 'logits'

    def __init__(self, *, num_classes: int, num_steps: int = 5, loss_weight: float = 1.0) -> None:
        super().__init__(
            num_classes, num_classes, on_vectors=True, num_steps=num_steps, loss_weight=loss_weight
        )

    def forward(self, student: Tensor, teacher: Tensor, target: Tensor | None = None) -> Tensor:
        """Loss of logits ``(N, C)``, scalar; ``target`` is not used."""
        check_logits(student, teacher)
        if len(student) == 0:
            return student.sum() * 0.0
        with without_autocast(student), normalise_single_values(self, student[:, :, None, None]):
            student, teacher = (
                logits.to(self.project.weight)[:, :, None, None]
                for logits in (student, teacher.detach())
            )
            drawn = Noise.like(teacher)
            refined = self._denoised(student, drawn.student)
            distilled = kd_loss(refined.flatten(1), teacher.flatten(1), temperature=1.0)
            return self.loss_weight * (distilled + self._noise_error(teacher, drawn))
