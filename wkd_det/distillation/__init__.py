"""Task-free core: the teacher, taps, terms and their sum."""

from wkd_det.distillation.distiller import Distiller
from wkd_det.distillation.tap import TAPS, Tap
from wkd_det.distillation.teacher import Teacher
from wkd_det.distillation.term import Term

__all__ = ['TAPS', 'Distiller', 'Tap', 'Teacher', 'Term']
