"""Task-free core: the distilled model, its teachers, views, taps, terms and their sum."""

from wkd_det.distillation.distiller import Distiller
from wkd_det.distillation.gradient_share import GradientShare
from wkd_det.distillation.model import DistilledModel
from wkd_det.distillation.module_tap import ModuleTap
from wkd_det.distillation.schedule import TermSchedule
from wkd_det.distillation.tap import TAPS, Binding, Slot, Tap
from wkd_det.distillation.teacher import Teacher, TeacherSource
from wkd_det.distillation.term import Term
from wkd_det.distillation.view import Pair, StudentView, TeacherView, View

__all__ = [
    'TAPS',
    'Binding',
    'DistilledModel',
    'Distiller',
    'GradientShare',
    'ModuleTap',
    'Pair',
    'Slot',
    'StudentView',
    'Tap',
    'Teacher',
    'TeacherSource',
    'TeacherView',
    'Term',
    'TermSchedule',
    'View',
]
