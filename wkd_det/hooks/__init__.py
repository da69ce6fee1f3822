"""Hooks around a training step: safe checkpoints, exact resume, term schedules, precision."""

from wkd_det.hooks.cpu_amp import CPUAmpOptimWrapper
from wkd_det.hooks.exact_checkpoint import ExactCheckpointHook
from wkd_det.hooks.term_schedule import TermScheduleHook

__all__ = ['CPUAmpOptimWrapper', 'ExactCheckpointHook', 'TermScheduleHook']
