"""Hooks around training: safe checkpoints, exact resume, schedules, samples, precision, layout."""

from wkd_det.hooks.channels_last import ChannelsLastHook
from wkd_det.hooks.cpu_amp import CPUAmpOptimWrapper
from wkd_det.hooks.exact_checkpoint import ExactCheckpointHook
from wkd_det.hooks.sample_table import SampleTableHook
from wkd_det.hooks.term_schedule import TermScheduleHook

__all__ = [
    'ChannelsLastHook',
    'CPUAmpOptimWrapper',
    'ExactCheckpointHook',
    'SampleTableHook',
    'TermScheduleHook',
]
