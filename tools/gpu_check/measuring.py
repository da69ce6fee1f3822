"""Measurements of a short call on a device: seconds, launches, memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.profiler import DeviceType, ProfilerActivity, profile

from benchmarks.memory import peak_extra_bytes
from benchmarks.timing import spread, time_in_turns
from gpu_check.waits import OperatorWatch, reported_waits

Run = Callable[[], Any]


class Meter:
    """Measures calls on one device.

    Args:
        device: Where the calls compute.
        brief: Time as little as possible: the figures mean nothing.
    """

    def __init__(self, device: torch.device, *, brief: bool = False) -> None:
        self.device = device
        self.brief = brief

    @property
    def is_gpu(self) -> bool:
        """Whether the device is a GPU, whose work runs after the host has asked for it."""
        return self.device.type == 'cuda'

    def finish(self) -> None:
        """Wait until the device has done all that it was asked for."""
        if self.is_gpu:
            torch.cuda.synchronize(self.device)

    def queued(self, run: Run, calls: int = 1) -> Run:
        """Return a call that runs another one some times in a row, and then waits."""

        def repeated() -> None:
            for _ in range(calls):
                run()
            self.finish()

        return repeated

    def latency(self, run: Run) -> float:
        """Return seconds of one call from an idle device to an idle device, the median."""
        return self._median(run, 1, 0.4)

    def throughput(self, run: Run) -> float:
        """Return seconds per call of many in a row: the longer of asking and computing."""
        calls = 1 if self.brief else 20
        return self._median(run, calls, 0.3) / calls

    def _median(self, run: Run, calls: int, seconds: float) -> float:
        repeats, seconds = (1, 0.0) if self.brief else (3, seconds)
        times = time_in_turns({'': self.queued(run, calls)}, repeats=repeats, seconds=seconds)
        return spread(times['']).median

    def extra_bytes(self, run: Run) -> int:
        """Return the peak of memory beyond what is there before the call."""
        if self.is_gpu:
            self.finish()
        return peak_extra_bytes(run, self.device)

    def launches_and_waits(self, run: Run) -> dict[str, Any]:
        """Return what a call asks the device for, and where the host waits for it.

        Returns:
            ``operators``, the number of those that are no views; ``waits``, their number by place
            (:func:`gpu_check.waits.place`); on a GPU also ``launches``, the number of kernels and
            copies, and ``busy_seconds``, the time that these take there.
        """
        with OperatorWatch() as watch:
            run()
        if not self.is_gpu:
            return dict(operators=watch.total, waits=dict(watch.readers))
        self.finish()
        waits = reported_waits(run)
        with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
            run()
            self.finish()
        events = [
            event
            for event in profiler.events()
            if event.device_type == DeviceType.CUDA
            and not getattr(event, 'is_user_annotation', False)
            and not event.name.startswith(('Optimizer.', 'ProfilerStep'))
        ]
        microseconds = sum(event.time_range.elapsed_us() for event in events)
        return dict(
            operators=watch.total,
            waits=dict(waits),
            launches=len(events),
            busy_seconds=microseconds / 1e6,
        )

    def all_of(self, run: Run) -> dict[str, Any]:
        """Return everything about a short call, in seconds and bytes."""
        return dict(
            seconds=self.latency(run),
            queued_seconds=self.throughput(run),
            extra_bytes=self.extra_bytes(run),
            **self.launches_and_waits(run),
        )
