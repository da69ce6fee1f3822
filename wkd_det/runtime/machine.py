"""The machine that a program runs on, as measurements and records name it."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path


@cache
def processor_name() -> str:
    """Return the model of the processor, or what Python knows of it outside Linux."""
    try:
        text = Path('/proc/cpuinfo').read_text(encoding='utf-8')
    except OSError:
        return platform.processor()
    names = [line.partition(':')[2].strip() for line in text.splitlines() if 'model name' in line]
    return names[0] if names else platform.processor()
