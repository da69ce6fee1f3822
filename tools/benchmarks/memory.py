"""Peak memory of a function, beyond what is allocated before."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch.profiler import ProfilerActivity, profile


def peak_extra_bytes(run: Callable[[], Any]) -> int:
    """Return the largest number of bytes that PyTorch's CPU allocator holds during ``run``.

    Counted by the allocator itself: the profiler notes each allocation and each release with the
    running total, also those inside operators and in the backward pass, and the peak is the
    largest total less the first. Unlike the resident size of a process, this is the same in
    every run and does not depend on page sizes, thread pools or memory kept for later. The
    buffers of BLAS (a few MB at most, whatever the batch) are not counted.

    Args:
        run: Called twice; memory that only the first call takes does not count.
    """
    run()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        run()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'trace.json'
        profiler.export_chrome_trace(str(path))
        trace = json.loads(path.read_text(encoding='utf-8'))
    events = [event for event in trace['traceEvents'] if event.get('name') == '[memory]']
    if not events:
        return 0
    first = min(events, key=lambda event: event['ts'])['args']
    peak = max(event['args']['Total Allocated'] for event in events)
    return max(peak - (first['Total Allocated'] - first['Bytes']), 0)
