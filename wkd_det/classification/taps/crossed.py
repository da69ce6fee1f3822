"""Taps on networks that cross over: the first stages of one, the later stages of the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from mmengine.dist import broadcast
from torch import Tensor, nn

from wkd_det.classification.classifier import network_of
from wkd_det.classification.stages import StagedNetwork, is_rectified
from wkd_det.classification.taps.logits import LogitsTap
from wkd_det.classification.views import ClassifierStudentView, ClassifierTeacherView
from wkd_det.connectors import Connector
from wkd_det.distillation.connecting import connected_shapes
from wkd_det.distillation.module_maps import ModuleMaps, empty_copies
from wkd_det.distillation.places import Place
from wkd_det.distillation.recording import recording
from wkd_det.distillation.tap import Binding, Slot, Tap
from wkd_det.distillation.view import Pair
from wkd_det.ops.batch_norm import unchanged_statistics
from wkd_det.ops.checks import check_booleans, check_integers, plain_number


class Path(NamedTuple):
    """A network that begins as one of both and ends as the other."""

    first: str
    """``'student'`` or ``'teacher'``."""
    cut: int
    """Index of the module behind which it crosses over."""


class CrossedPass:
    """Crossed networks on one batch; each part runs at most once, when it is asked for.

    Args:
        tap: Knows the stages of both networks.
        student: The student's view of the batch.
        teacher: The teacher's.
        bridges: Connectors in the order in which the tap binds them.
    """

    def __init__(
        self,
        tap: CrossedStagesTap,
        student: ClassifierStudentView,
        teacher: ClassifierTeacherView,
        bridges: Sequence[Connector],
    ) -> None:
        self.tap = tap
        self.views = dict(student=student, teacher=teacher)
        self.bridges = bridges
        self.paths = tap.draw()
        self._bridged: dict[Path, Tensor] = {}
        self._crossed: dict[Path, tuple[dict[int, Tensor], Tensor]] = {}

    def own(self, owner: str, cut: int) -> Tensor:
        """The map of a network behind one of its own stages."""
        return self.views[owner].output(self.tap.staged[owner].cuts[cut])

    def bridged(self, path: Path) -> Tensor:
        """The map with which a path crosses over, as the other network could have made it."""
        if path not in self._bridged:
            count = len(self.tap.staged['student'].cuts)
            bridge = self.bridges[path.cut + (0 if path.first == 'student' else count)]
            other = 'teacher' if path.first == 'student' else 'student'
            size = tuple(self.own(other, path.cut).shape[-2:])
            self._bridged[path] = bridge(self.own(path.first, path.cut), size)
        return self._bridged[path]

    def crossed(self, path: Path) -> tuple[dict[int, Tensor], Tensor]:
        """Maps behind the later stages of a path, by index, and its logits."""
        if path not in self._crossed:
            last = 'teacher' if path.first == 'student' else 'student'
            network, staged = network_of(self.views[last].module), self.tap.staged[last]
            run = partial(staged.run, network, path.cut)
            if last == 'teacher':
                run = partial(self.views[last].run_later, run)
            with unchanged_statistics(staged.stage_modules(network, path.cut)):
                self._crossed[path] = run(self.bridged(path))
        return self._crossed[path]


class CrossedStagesTap(Tap):
    """Base of the taps on paths from the first stages of one network into the other.

    Both networks are cut behind some modules. A path runs one network up to a cut, a connector,
    the bridge, and the rest of the other network. Of all such paths, in both directions, some are
    drawn per step from torch's random state, that of the first process in all of them.

    There is a bridge from the student to the teacher behind each module, and one back behind each
    but the last: connectors with the widths and sizes of both maps, and ``rectified`` where they
    ask for it. Terms of both taps with the same modules share the paths of a step if one
    borrows the other's connectors.

    Convention:
        - The teacher stays frozen and in evaluation mode, as everywhere, and passes gradients on
          to the bridges and the student (the authors run it in training mode).
        - Paths through the student's later stages train them. They are normalised by the
          statistics of their own batch, of which nothing is remembered.

    Args:
        modules: Modules of the student, at least two, in the order in which they run, or a place
            of several.
        teacher_modules: As many modules of the teacher; the same names by default.
        num_paths: Paths that are drawn per step.

    Raises:
        ValueError: If a number is outside its range.

    References: Liu, Kan, Shan, Chen, Function-Consistent Feature Distillation, ICLR 2023.
    """

    def __init__(
        self, *, modules: Place = 'stages', teacher_modules: Place | None = None, num_paths: int = 2
    ) -> None:
        check_integers(num_paths=num_paths)
        self.modules = modules
        self.teacher_places = modules if teacher_modules is None else teacher_modules
        self.num_paths = plain_number(num_paths)

    def bind(self, student: nn.Module, teacher: Mapping[str, Any]) -> Binding:
        binding = super().bind(student, teacher)
        copies = dict(zip(('student', 'teacher'), empty_copies(student, teacher)))
        places = dict(student=self.modules, teacher=self.teacher_places)
        self.staged: dict[str, StagedNetwork] = {}
        maps, rectified = {}, {}
        for owner, network in copies.items():
            names = student.places_of(owner, network).modules(owner, network, places[owner])
            maps[owner] = ModuleMaps(student, owner, network, names)
            rectified[owner] = _rectified(student, network, names)
            for name, shape in student.probe(network, names).items():
                if len(shape) != 4 or shape[2] != shape[3]:
                    raise ValueError(
                        f'crossed stages have maps (N, C, H, W), and {name!r} of the {owner} gives '
                        f'{shape}'
                    )
            self.staged[owner] = StagedNetwork(network.train(owner == 'student'), names, owner)
        self.student_modules, self.teacher_modules = (
            (*getattr(self, f'{owner}_modules'), *staged.cuts)
            for owner, staged in self.staged.items()
        )
        counts = {len(staged.cuts) for staged in self.staged.values()}
        if len(counts) > 1 or min(counts) < 2:
            raise ValueError(
                'modules and teacher_modules must be as many, at least 2, got '
                f'{list(self.staged["student"].cuts)} and {list(self.staged["teacher"].cuts)}'
            )
        (count,) = counts
        self._choices = [
            Path(first, cut) for first in ('student', 'teacher') for cut in range(count - 1)
        ]
        if self.num_paths > len(self._choices):
            raise ValueError(
                f'num_paths must be at most {len(self._choices)}, the number of paths across '
                f'{count} modules, got {self.num_paths}'
            )
        slots = [
            Slot(
                maps[source].channels[cut],
                maps[target].channels[cut],
                (index,),
                maps[source].sizes[cut],
                maps[target].sizes[cut],
                dict(rectified=rectified[target][cut]),
            )
            for index, (source, target, cut) in enumerate(
                [
                    *(('student', 'teacher', cut) for cut in range(count)),
                    *(('teacher', 'student', cut) for cut in range(count - 1)),
                ]
            )
        ]
        self._slots = tuple(slots)
        return replace(binding, slots=self._slots)

    def attach(
        self, student: nn.Module, teacher: nn.Module, connectors: Sequence[Connector]
    ) -> None:
        super().attach(student, teacher, connectors)
        self._check_sizes(connectors)

    def draw(self) -> list[Path]:
        """Draw the paths of a step, for all processes: some share their normalisations."""
        order = torch.randperm(len(self._choices))
        broadcast(order)
        return [self._choices[index] for index in order[: self.num_paths].tolist()]

    def crossed_pass(
        self,
        student: ClassifierStudentView,
        teacher: ClassifierTeacherView,
        connectors: Sequence[Connector],
    ) -> CrossedPass:
        """The crossed networks of a step, which terms with these connectors share."""
        cuts = (staged.cuts for staged in self.staged.values())
        key = ('crossed', *cuts, self.num_paths, *map(id, connectors))
        return student.once(key, partial(CrossedPass, self, student, teacher, connectors))

    def _check_sizes(self, connectors: Sequence[Connector]) -> None:
        """Raise if a connector gives a map of another size than the other network's."""
        shapes = connected_shapes(connectors, self._slots)
        for connector, slot, shape in zip(connectors, self._slots, shapes):
            if tuple(shape[-2:]) != slot.target_size:
                raise ValueError(
                    f'{type(connector).__name__} makes {shape[-2]} x {shape[-1]} of a '
                    f'map of {slot.source_size[0]} x {slot.source_size[1]}, and the other network '
                    f'has {slot.target_size[0]} x {slot.target_size[1]} there: use BridgeConnector'
                )


class CrossedLogitsTap(CrossedStagesTap, LogitsTap):
    """Class logits of crossed networks in place of the student's, with the teacher's own.

    The loss is summed over the paths that are drawn.

    Args:
        modules: Modules of the student, at least two, in the order in which they run, or a place
            of several.
        teacher_modules: As many modules of the teacher; the same names by default.
        num_paths: Paths that are drawn per step; the authors take 2.

    References: Liu, Kan, Shan, Chen, Function-Consistent Feature Distillation, ICLR 2023. Its
        appearance term is that of ``crossed_features``.
    """

    reads_alone: ClassVar[bool] = False

    def bind(self, student: nn.Module, teacher: Mapping[str, Any]) -> Binding:
        self.weights = [1.0] * self.num_paths
        return super().bind(student, teacher)

    def read(
        self,
        student: ClassifierStudentView,
        teacher: ClassifierTeacherView,
        connectors: Sequence[Connector],
    ) -> list[Pair]:
        (pair,) = LogitsTap.read(self, student, teacher, connectors)
        crossed = self.crossed_pass(student, teacher, connectors)
        return [dict(pair, student=crossed.crossed(path)[1]) for path in crossed.paths]


class CrossedFeaturesTap(CrossedStagesTap):
    """Maps that bridges and crossed networks make, with the teacher's own.

    Compared are the student's map behind the bridge at each module, and what the later stages of
    the teacher make of it on the paths from the student that are drawn. The loss is summed over
    all of them.

    Args:
        modules: Modules of the student, at least two, in the order in which they run, or a place
            of several.
        teacher_modules: As many modules of the teacher; the same names by default.
        num_paths: Paths that are drawn per step; the authors take 2.
        pooled: Compare at the last module also the means over the pixels of the rectified maps,
            as maps of one pixel.

    References: Liu, Kan, Shan, Chen, Function-Consistent Feature Distillation, ICLR 2023: its
        appearance term, with the squared distance (twice ``FitNetLoss``) as loss. Its functional
        term is that of ``crossed_logits``.
    """

    yields: ClassVar[str] = 'features'

    def __init__(
        self,
        *,
        modules: Place = 'stages',
        teacher_modules: Place | None = None,
        num_paths: int = 2,
        pooled: bool = True,
    ) -> None:
        check_booleans(pooled=pooled)
        super().__init__(modules=modules, teacher_modules=teacher_modules, num_paths=num_paths)
        self.pooled = pooled

    def bind(self, student: nn.Module, teacher: Mapping[str, Any]) -> Binding:
        binding = super().bind(student, teacher)
        # A sum. How many maps there are depends on the paths: at most so many.
        self.weights = [1.0] * (len(binding.slots) * (1 + self.num_paths))
        return binding

    def read(
        self,
        student: ClassifierStudentView,
        teacher: ClassifierTeacherView,
        connectors: Sequence[Connector],
    ) -> list[Pair]:
        crossed = self.crossed_pass(student, teacher, connectors)
        last = len(self.staged['teacher'].cuts) - 1
        found = [(cut, crossed.bridged(Path('student', cut))) for cut in range(last + 1)]
        for path in crossed.paths:
            if path.first == 'student':
                found += crossed.crossed(path)[0].items()
        pairs = [dict(student=maps, teacher=crossed.own('teacher', cut)) for cut, maps in found]
        if self.pooled:
            pairs += [
                {owner: _pooled(maps) for owner, maps in pair.items()}
                for (cut, _), pair in zip(found, list(pairs))
                if cut == last
            ]
        return pairs


def _pooled(maps: Tensor) -> Tensor:
    return F.adaptive_avg_pool2d(maps.relu(), 1)


def _rectified(student: nn.Module, network: nn.Module, names: Sequence[str]) -> list[bool]:
    """Whether maps come out of a ReLU, per name; the network is on the meta device."""
    image = student.probe_image(network.eval())
    for parameter in network.parameters():
        parameter.requires_grad_()
    with torch.enable_grad(), recording(network, names) as recorded:
        student.run_probe(network, image)
    return [is_rectified(recorded[name]) for name in names]
