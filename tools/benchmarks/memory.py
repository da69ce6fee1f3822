"""Peak memory of a function, beyond what is allocated before."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

_CPU = torch.device('cpu')


def peak_extra_bytes(run: Callable[[], Any], device: torch.device = _CPU) -> int:
    """Return the largest number of bytes that PyTorch's allocator holds during ``run``.

    Counted by the allocator itself. On a GPU it keeps the peak; on a CPU the profiler notes each
    allocation and each release with the running total, also those inside operators and in the
    backward pass, and the peak is the largest total less the first. Unlike the resident size of a
    process, this is the same in every run and does not depend on page sizes, thread pools or
    memory kept for later. The buffers of BLAS (a few MB at most, whatever the batch) are not
    counted.

    Args:
        run: Called twice; memory that only the first call takes does not count.
        device: Whose memory is counted.
    """
    run()
    return _on_gpu(run, device) if device.type == 'cuda' else _on_cpu(run)


def _on_gpu(run: Callable[[], Any], device: torch.device) -> int:
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    run()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before


def _on_cpu(run: Callable[[], Any]) -> int:
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
