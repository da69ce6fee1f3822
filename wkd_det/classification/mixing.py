"""Mixup and CutMix: images of a batch mixed in pairs, and the soft labels of the mixtures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from wkd_det.ops.checks import check_booleans, check_nonnegative, is_number
from wkd_det.runtime.config import check_keys, keyword_names

_OURS = ('label_smoothing', 'multi_label', 'num_classes')  # options of timm's that are set here


class BatchMixing:
    """Mixes images with each other by timm's ``Mixup``, and their labels alike.

    Convention:
        - Labels become probabilities without label smoothing: that of the classifier, which is
          linear in them, gives what timm's gives, and is then applied once.
        - Image i is mixed with image N - 1 - i. Of an odd number of images the last one stays as
          it is.
        - Draws come from numpy's global generator, whose state the exact checkpoints hold.

    Args:
        options: ``mixup_alpha``, ``cutmix_alpha``, ``cutmix_minmax``, ``prob``, ``switch_prob``,
            ``mode`` and ``correct_lam`` of ``timm.data.Mixup``.

    Raises:
        ImportError: If timm is not installed.
        KeyError: If an option is unknown.
        TypeError: If the options are no dict.
        ValueError: If a value is outside its range, neither mixup nor CutMix is on, or ``mode`` is
            unknown.

    References: Zhang et al., mixup: Beyond Empirical Risk Minimization, ICLR 2018; Yun et al.,
        CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features,
        ICCV 2019.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        try:
            from timm.data import Mixup
        except ImportError:
            raise ImportError('mixup needs timm: pip install timm') from None
        if not isinstance(options, Mapping):
            raise TypeError(f'mixup must be a dict, e.g. dict(mixup_alpha=0.8), got {options!r}')
        if 'label_smoothing' in options:
            raise KeyError('mixup takes no label_smoothing: set that of the classifier')
        valid = [name for name in keyword_names(Mixup.__init__) if name not in _OURS]
        check_keys('mixup', options, valid)
        _check_values(options)
        self._mixup = Mixup(**options, label_smoothing=0.0)
        if not (self._mixup.mixup_alpha > 0 or self._mixup.cutmix_alpha > 0):
            raise ValueError(
                'mixup needs mixup_alpha > 0, cutmix_alpha > 0 or cutmix_minmax, got '
                f'{dict(options)}'
            )
        if self._mixup.mode not in ('batch', 'pair', 'elem'):
            raise ValueError(
                f"mixup.mode must be 'batch', 'pair' or 'elem', got {self._mixup.mode!r}"
            )

    def __call__(self, images: Tensor, labels: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
        """Return mixed images and soft labels ``(N, num_classes)``, float32.

        Args:
            images: Floats, shape ``(N, C, H, W)``; changed in place.
            labels: Classes, shape ``(N,)``.
            num_classes: Width of the soft labels.
        """
        soft = torch.nn.functional.one_hot(labels.long(), num_classes).float()
        even = len(images) - len(images) % 2
        if even:
            self._mixup.num_classes = num_classes
            images[:even], soft[:even] = self._mixup(images[:even], labels[:even])
        return images, soft


def _check_values(options: Mapping[str, Any]) -> None:
    """Raise if a value is one of which timm would make something else, or nothing but an error."""
    for name in ('mixup_alpha', 'cutmix_alpha'):
        check_nonnegative(**{f'mixup.{name}': options.get(name, 0)})
    for name in ('prob', 'switch_prob'):
        if not _is_share(options.get(name, 0)):
            raise ValueError(f'mixup.{name} must lie in [0, 1], got {options[name]!r}')
    check_booleans(**{'mixup.correct_lam': options.get('correct_lam', True)})
    shares = options.get('cutmix_minmax')
    pair = isinstance(shares, Sequence) and len(shares) == 2 and all(map(_is_share, shares))
    if shares is not None and not pair:
        raise ValueError(f'mixup.cutmix_minmax must be two numbers in [0, 1], got {shares!r}')


def _is_share(value: Any) -> bool:
    return is_number(value) and 0 <= value <= 1
