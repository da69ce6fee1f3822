"""Task-free core: the distilled model, its teacher, taps, terms and their sum."""

from wkd_det.distillation.distiller import Distiller
from wkd_det.distillation.model import DistilledModel
from wkd_det.distillation.schedule import TermSchedule
from wkd_det.distillation.tap import TAPS, Tap
from wkd_det.distillation.teacher import Teacher, TeacherSource
from wkd_det.distillation.term import Term

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
