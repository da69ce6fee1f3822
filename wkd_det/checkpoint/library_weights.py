"""Weights that torchvision and timm publish, by address."""

from __future__ import annotations

from typing import Any

TORCHVISION, TIMM = 'torchvision://', 'timm://'


def torchvision_address(source: str) -> str:
    """The http address behind ``torchvision://NAME``.

    Args:
        source: ``NAME`` is a set of weights (``ResNet34_Weights.IMAGENET1K_V1``) or a model
            (``resnet34``), whose best ones are meant.

    Raises:
        ValueError: If torchvision knows no such weights.
    """
    from torchvision.models import get_model_weights, get_weight

    name = source[len(TORCHVISION) :]
    try:
        weights = get_weight(name) if '.' in name else get_model_weights(name).DEFAULT
    except (AttributeError, KeyError, ValueError):
        raise ValueError(
            f'torchvision has no weights {name!r}: name a model (torchvision://resnet34) or a set '
            'of weights (torchvision://ResNet34_Weights.IMAGENET1K_V1)'
        ) from None
    return weights.url


def timm_weights(source: str) -> dict[str, Any]:
    """The weights behind ``timm://NAME``, fetched by timm (kept in the Hugging Face cache).

    Args:
        source: ``NAME`` is a model of timm, perhaps with a tag (``resnet18.a1_in1k``).

    Raises:
        ImportError: If timm is not installed.
        ValueError: If timm has no weights of that name.
    """
    try:
        import timm
    except ImportError:
        raise ImportError(f'{source} needs timm: pip install timm') from None
    name = source[len(TIMM) :]
    if not timm.is_model(name) or not timm.get_pretrained_cfg(name).has_weights:
        raise ValueError(f'timm has no weights {name!r}; timm.list_pretrained() lists those it has')
    return timm.create_model(name, pretrained=True).state_dict()
