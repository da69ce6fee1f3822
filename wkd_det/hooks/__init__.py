"""What happens around a training step: safe checkpoints, exact resume, watching, precision."""

from wkd_det.hooks.cpu_amp_optim_wrapper import CPUAmpOptimWrapper
from wkd_det.hooks.exact_checkpoint_hook import ExactCheckpointHook
from wkd_det.hooks.term_schedule_hook import TermScheduleHook

__all__ = ['CPUAmpOptimWrapper', 'ExactCheckpointHook', 'TermScheduleHook']
