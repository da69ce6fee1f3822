"""Networks of timm by name, with random weights."""

from __future__ import annotations

from typing import Any

from torch import nn

from wkd_det.runtime.config import near_matches


def timm_network(asking: str, name: str, **options: Any) -> nn.Module:
    """Return a network of timm, untouched and with random weights.

    Args:
        asking: Name of the type that needs it, for messages.
        name: As ``timm.list_models`` lists it, perhaps with the tag of its weights.
        **options: Those of ``timm.create_model`` and of the network.

    Raises:
        ImportError: If timm is not installed.
        ValueError: If the name or its tag is unknown.
    """
    try:
        import timm
    except ImportError:
        raise ImportError(f'{asking} needs timm: pip install timm') from None
    if not timm.is_model(name):
        raise ValueError(f'name is no network of timm: {near_matches(name, timm.list_models())}')
    try:
        timm.get_pretrained_cfg(name)
    except RuntimeError:
        network = name.partition('.')[0]
        tagged = near_matches(name, timm.list_pretrained(f'{network}.*'))
        raise ValueError(f'name has a tag that timm does not know: {tagged}') from None
    return timm.create_model(name, pretrained=False, **options)
