"""Task-free core: the distilled model, its teacher, taps, terms and their sum."""

from wkd_det.distillation.distilled_model import DistilledModel
from wkd_det.distillation.distiller import Distiller
from wkd_det.distillation.tap import TAPS, Tap
from wkd_det.distillation.teacher import Teacher
from wkd_det.distillation.teacher_source import TeacherSource
from wkd_det.distillation.term import Term
from wkd_det.distillation.term_schedule import TermSchedule

__all__ = [
    'TAPS',
    'DistilledModel',
    'Distiller',
    'Tap',
    'Teacher',
    'TeacherSource',
    'Term',
    'TermSchedule',
]
