"""The teacher: where it comes from, and how it is held without being part of the student."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import torch
from mmengine.config import Config, ConfigDict
from mmengine.logging import print_log
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from wkd_det import registry
from wkd_det.costs.interface import ClassTable, CostSource
from wkd_det.distillation.classes import RULES, ClassOrder
from wkd_det.distillation.folding import foldable
from wkd_det.distillation.inference import Inference
from wkd_det.ops.checks import are_names, check_choice
from wkd_det.runtime.checkpoints import read_checkpoint
from wkd_det.runtime.class_names import checkpoint_class_names
from wkd_det.runtime.config import check_keys, keyword_names, near_matches, read_config
from wkd_det.runtime.state import load_strictly, weights_of

_OF_A_STUDENT = ('teacher', 'teachers', 'distill', 'on_non_finite', 'unlabelled')
ONLY = 'teacher'
"""Name of the teacher of a section ``teacher``, which is the only one."""
_Known = TypeVar('_Known')


class Teacher:
    """A frozen network outside the module tree of its holder.

    No ``nn.Module``, hence absent from ``state_dict``, ``parameters``, DDP, SyncBN conversion,
    ``init_weights`` and ``train()``; a deep copy of the student (EMA) shares it. It is the one
    place where the teacher's classes are brought into the student's order.

    Args:
        module: The network; set to eval mode, and its parameters stop requiring gradients.
        class_names: Names of its classes in order, if the checkpoint has them.
        inference: Type and layout it computes in; see :meth:`prepare`.
        section: Its place in the config, for messages.

    Attributes:
        order: The student's classes among its own.
    """

    def __init__(
        self,
        module: nn.Module,
        class_names: list[str] | None = None,
        inference: Inference | None = None,
        *,
        section: str = ONLY,
    ) -> None:
        module.eval()  # of some wrappers it returns nothing
        self.module = module.requires_grad_(False)
        self.class_names = class_names
        self.inference = inference or Inference()
        self.section = section
        self.order = ClassOrder()
        self._batch_type: torch.dtype | None = None
        self._found: dict[Hashable, Any] = {}

    def __deepcopy__(self, memo: dict) -> Teacher:
        return self

    def follow(self, inputs: Tensor) -> None:
        """Move to the device and the floating type of a batch.

        Called in each pass instead of hooked into the student's ``to``, which some wrappers
        (FSDP) never call. Costs one comparison where nothing has moved. A type of its own
        (``inference``) stays.
        """
        self._batch_type = inputs.dtype
        own = next(self.module.parameters(), None)
        if own is None:
            return
        if self.inference.type is not None:
            if own.device != inputs.device:
                self.module.to(inputs.device)
        elif (own.device, own.dtype) != (inputs.device, inputs.dtype):
            self.module.to(inputs.device, inputs.dtype)

    def once(self, key: Hashable, find: Callable[[], Any]) -> Any:
        """A fact about the network, which is found out when it is first asked for."""
        if key not in self._found:
            self._found[key] = find()
        return self._found[key]

    def prepare(
        self,
        network: nn.Module,
        parts: Callable[[], Iterable[Callable[[], Any]]],
        read: Iterable[str],
    ) -> None:
        """Bring the network into the form of ``inference``, when nobody looks at its weights more.

        Args:
            network: The network whose modules taps name, ``module`` or a part of it.
            parts: Returns functions that run its parts, to find what can be folded.
            read: Modules that taps read.
        """
        pairs = []
        if self.inference.fuse:
            pairs = foldable(network, parts(), list(read))
            norms = sum(isinstance(module, _BatchNorm) for module in network.modules())
            print_log(
                f'{self.section}: {len(pairs)} of {norms} batch normalisations are folded into '
                'convolutions',
                logger='current',
            )
        self.inference.prepare(network, pairs)

    def computing(self, like: Tensor, *, mixed: bool = False) -> AbstractContextManager:
        """A block in which parts of the network run, on the device of a tensor.

        Args:
            like: A tensor on this device.
            mixed: The parts make numbers of float32 of their own.
        """
        return self.inference.computing(like.device, mixed=mixed)

    def given(self, values: Any) -> Any:
        """Outputs of the network in the type of the batch and the usual layout."""
        return self.inference.given(values, self._batch_type)

    def logits(self, raw: Tensor) -> Tensor:
        """Logits ``(..., T)`` or ``(..., T + 1)`` in the student's classes."""
        return self.order.logits(raw)

    def offsets(self, raw: Tensor) -> Tensor:
        """Box offsets ``(N, 4 T)`` or ``(N, 4)`` in the student's classes."""
        return self.order.offsets(raw)

    def distances(self, source: CostSource, table: ClassTable) -> Tensor:
        """Class distances of a source in the student's classes, shape ``(C, C)``.

        A source that goes by name is asked for these classes. Of others the finished matrix is
        reordered: a centred cosine over all of the teacher's rows is not that over the student's
        classes, and files by position are in the teacher's order.
        """
        if getattr(source, 'by_name', False):
            return source(self.order.table(table))
        return self.order.matrix(source(table))

    def __repr__(self) -> str:
        return f'Teacher({type(self.module).__name__}, frozen)'

    def __reduce__(self) -> Any:
        raise TypeError('a Teacher is not pickled: save the student, whose checkpoint is complete')


class TeacherSource:
    """Where a teacher comes from: the section ``teacher`` of a config, or one of ``teachers``.

    Args:
        config: Path of a config, an ``mmdet::`` name, a config, or a model dict; see
            :func:`~wkd_det.runtime.config.read_config`.
        checkpoint: Path or http(s) address of its weights, ``.pth`` or ``.safetensors``.
        overrides: Merged into the model section of ``config``, nested or with dotted keys.
        classes: ``'same'``: the student's classes, in any order. ``'subset'``: the student has
            some of the teacher's; the others are background to it. ``'any'``: classes are not
            compared, and terms may read features only.
        class_names: Names of its classes in order, in place of those in its checkpoint, for one
            that has none or calls them otherwise.
        inference: ``dtype``, ``channels_last`` and ``fuse``; see
            :class:`~wkd_det.distillation.inference.Inference`.
        section: Place of the section in the config, for messages.
    """

    def __init__(
        self,
        config: str | os.PathLike | Mapping[str, Any] | Config | None = None,
        checkpoint: str | os.PathLike | None = None,
        overrides: Mapping[str, Any] | None = None,
        classes: str = 'same',
        class_names: Sequence[str] | None = None,
        inference: Mapping[str, Any] | None = None,
        *,
        section: str = ONLY,
    ) -> None:
        if config is None:
            raise KeyError(f'{section}.config is missing: a config path, an mmdet:: name or a dict')
        if not isinstance(config, (str, os.PathLike, Mapping, Config)):
            raise TypeError(f'{section}.config must be a path, a name or a dict, got {config!r}')
        if not (checkpoint is None or isinstance(checkpoint, (str, os.PathLike))):
            raise TypeError(
                f'{section}.checkpoint must be a path or an address, got {checkpoint!r}'
            )
        if overrides is not None and not isinstance(overrides, Mapping):
            raise TypeError(
                f'{section}.overrides must be a dict that is merged into the model section, got '
                f'{overrides!r}'
            )
        self.section = section
        self.config = config
        self.checkpoint = checkpoint
        self.overrides = overrides or {}
        check_choice(RULES, **{f'{section}.classes': classes})
        self.classes = classes
        if not (class_names is None or are_names(class_names)):
            raise TypeError(f'{section}.class_names must be a list of names, got {class_names!r}')
        self.class_names = None if class_names is None else list(class_names)
        self.inference = Inference.from_config(inference, section)

    @classmethod
    def from_config(cls, config: Mapping[str, Any], section: str = ONLY) -> TeacherSource:
        """Read a section, refusing unknown keys.

        Args:
            config: The section.
            section: Its place in the config, for messages.

        Raises:
            TypeError, KeyError: If it is no dict, lacks ``config`` or has other keys.
        """
        if not isinstance(config, Mapping):
            raise TypeError(f'{section} must be a dict with config and checkpoint, got {config!r}')
        check_keys(section, config, [name for name in keyword_names(cls) if name != 'section'])
        return cls(**config, section=section)

    def model_config(self) -> ConfigDict:
        """The model section of the teacher's config, overrides merged in.

        If the model was distilled itself, the plain one: its own teacher is left out.

        Raises:
            FileNotFoundError, ModuleNotFoundError: If the config, or its package, is not there.
            KeyError: If it has no model section.
            ValueError: If it goes by the name of no package with configs.
        """
        config = read_config(self.config, section=f'{self.section}.config')
        if 'model' not in config and not isinstance(self.config, (str, os.PathLike)):
            config = Config(dict(model=config.to_dict()))
        if 'model' not in config:
            raise KeyError(f'{self.section}.config {self.config} has no model section')
        config.merge_from_dict({f'model.{key}': value for key, value in self.overrides.items()})
        for key in _OF_A_STUDENT:
            config.model.pop(key, None)
        return config.model

    def load(self) -> Teacher:
        """Build the network and load its weights, leaving the random state as it was.

        Raises:
            ValueError: If there is no checkpoint or it does not fit.
        """
        if not self.checkpoint:
            raise ValueError(
                f'{self.section}.checkpoint is not set: an untrained teacher teaches nothing. Set '
                f'it in the config or with --cfg-options model.{self.section}.checkpoint=PATH'
            )
        checkpoint = read_checkpoint(self.checkpoint)
        with torch.random.fork_rng(devices=[]):
            module = registry.build(self.model_config())
        source = f'{self.section}.checkpoint {self.checkpoint}'
        load_strictly(module, weights_of(checkpoint), source)
        print_log(f'{self.section}: loaded {self.checkpoint}', logger='current')
        return Teacher(module, self._names(checkpoint), self.inference, section=self.section)

    def _names(self, checkpoint: Mapping[str, Any]) -> list[str] | None:
        if self.class_names is not None:
            return self.class_names
        try:
            return checkpoint_class_names(checkpoint)
        except ValueError as error:
            if self.classes == 'any':
                return None
            raise ValueError(
                f'{error} ({self.section}.checkpoint {self.checkpoint}); '
                f"{self.section}.class_names=[...] says what the teacher's classes are called"
            ) from None


def teacher_sources(
    teacher: Mapping[str, Any] | None, teachers: Mapping[str, Any] | None
) -> dict[str, TeacherSource]:
    """Sources of the teachers of a model by name; one alone is called :data:`ONLY`.

    Args:
        teacher: The section of one teacher.
        teachers: Sections of several by the names that terms use.

    Raises:
        TypeError, KeyError, ValueError: If both are set, or a section is wrong.
    """
    if teachers is None:
        return {} if teacher is None else {ONLY: TeacherSource.from_config(teacher)}
    if teacher is not None:
        raise ValueError(
            'teacher and teachers are both set: a model has one teacher (teacher=dict(config=..., '
            'checkpoint=...)) or several by name (teachers=dict(NAME=dict(config=..., '
            'checkpoint=...), ...))'
        )
    if not isinstance(teachers, Mapping):
        raise TypeError(
            'teachers must be a dict of names, each with config and checkpoint as in teacher, got '
            f'{teachers!r}'
        )
    return {
        name: TeacherSource.from_config(config, f'teachers.{name}')
        for name, config in teachers.items()
    }


def one_of(teachers: Mapping[str, _Known], name: str | None, how: str) -> _Known:
    """The teacher of a name, or the only one.

    Args:
        teachers: Teachers, or what belongs to them, by name; at least one.
        name: Name of a teacher; None where nobody has said one.
        how: How to say a name, for the message.

    Raises:
        KeyError: If there is none of that name; with the valid ones.
        ValueError: If there are several and none is named.
    """
    if name is not None:
        if name not in teachers:
            raise KeyError(f'there is no such teacher: {near_matches(name, teachers)}')
        return teachers[name]
    if len(teachers) > 1:
        raise ValueError(f'there are the teachers {", ".join(teachers)}: {how}')
    return next(iter(teachers.values()))
