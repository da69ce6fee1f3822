"""Hooks around training: checkpoints, exact resume, results, schedules, precision, layout."""

from wkd_det.hooks.channels_last import ChannelsLastHook
from wkd_det.hooks.cpu_amp import CPUAmpOptimWrapper
from wkd_det.hooks.exact_checkpoint import ExactCheckpointHook
from wkd_det.hooks.gradient_norm import GradientNormHook
from wkd_det.hooks.image_size import ImageSizeHook
from wkd_det.hooks.metric_file import MetricFileHook
from wkd_det.hooks.sample_table import SampleTableHook
from wkd_det.hooks.term_schedule import TermScheduleHook

__all__ = [
    'CPUAmpOptimWrapper',
    'ChannelsLastHook',
    'ExactCheckpointHook',
    'GradientNormHook',
    'ImageSizeHook',
    'MetricFileHook',
    'SampleTableHook',
    'TermScheduleHook',
]
