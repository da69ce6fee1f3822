"""What one training pass of the student leaves behind for the terms."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from wkd_det.classification.recording import Outputs


@dataclass
class StudentPass:
    """Outputs of the student's modules on one batch, and its labels."""

    outputs: Outputs
    labels: Tensor
    """Shape ``(N,)``."""
