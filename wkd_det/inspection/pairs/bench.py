"""A pair on this machine: methods are tried on it, and what they cost is measured."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from wkd_det import registry
from wkd_det.distillation.images import grey_as_colours
from wkd_det.distillation.model import DistilledModel
from wkd_det.distillation.recording import replaced
from wkd_det.distillation.teacher import ONLY, Teacher, TeacherSource
from wkd_det.inspection.pairs.images import losses_of, random_images, random_labels
from wkd_det.inspection.pairs.kept import KeptMemory
from wkd_det.inspection.pairs.methods import Method, num_samples, remedies
from wkd_det.inspection.pairs.names import published
from wkd_det.inspection.pairs.pair import Pair
from wkd_det.runtime.mistakes import sentence_of

_RUNS = 3


@dataclass(frozen=True)
class Trial:
    """How a method fared on a pair."""

    method: Method
    """With all that was changed for the pair; as its file has it where it does not fit."""
    refusal: str | None = None
    """Why training would refuse it; None where it fits."""
    memory: dict[str, int] = field(default_factory=dict)
    """Bytes that each term keeps for the backward pass, by its name."""

    @property
    def fits(self) -> bool:
        """Whether it trains on the pair."""
        return self.refusal is None


class Bench:
    """Student and teacher of a pair, built once, with random images.

    Args:
        pair: Where the checkpoint of the teacher is not there, or does not load, its weights are
            random.
        names: Names of the student's classes, if they are known.
        teacher_names: Those of a teacher whose checkpoint is not given.
        size: Side of the images in pixels.
        count: Number of images in the batch.
        folder: For files that are made on the way.

    Attributes:
        model: The distilled model, without terms.
        teacher: The loaded teacher; None without one.
        problem: Why the checkpoint does not load; None if it does, or there is none.
        has_weights: Whether the teacher has its weights.
    """

    def __init__(
        self,
        pair: Pair,
        *,
        names: list[str] | None,
        teacher_names: list[str] | None,
        size: int,
        count: int,
        folder: Path,
    ) -> None:
        self.names = names
        self.size = size
        self.count = count
        self.device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
        self.problem: str | None = None
        self.has_weights = False
        self.teacher: Teacher | None = None
        if pair.teacher is not None:
            self.teacher, pair = self._opened(pair, teacher_names, folder / 'random.pth')
        options: dict[str, Any] = dict(on_non_finite='skip')  # of random weights
        if not pair.is_detection:
            options['image_size'] = size
        self.pair = pair
        self.model: DistilledModel = registry.build(pair.model(**options))
        self.model.to(self.device).train()
        source = self.model.teacher_sources.get(ONLY)
        # One for all methods: the dry run of the teacher is that of this config.
        self.teacher_config = None if source is None else source.model_config()

    def set_rule(self, rule: str) -> None:
        """Match the classes of student and teacher by another rule."""
        self.model.teacher_sources[ONLY].classes = rule

    def try_method(
        self, method: Method, *, samples: int | None = None, adapt: bool = True
    ) -> Trial:
        """Build a method's terms on the pair and compute them once, as the first step does.

        Where it is refused it is tried again with what the refusal may ask for.

        Args:
            method: Fitted to the pair.
            samples: Number of training images, for methods that keep something of each.
            adapt: Whether it may be changed.
        """
        first = self._once(method, samples)
        if first.fits or not adapt:
            return first
        tried = [first]
        for _ in range(3):
            last = tried[-1]
            for changed in remedies(last.method, last.refusal):
                trial = self._once(changed, samples)
                if trial.fits:
                    return trial
                if trial.refusal != last.refusal:
                    tried.append(trial)
                    break
            else:
                break
        return first

    def _once(self, method: Method, samples: int | None) -> Trial:
        try:
            with published(self.names), torch.random.fork_rng(devices=[]):
                return Trial(method, None, self._step(method, samples))
        except Exception as error:
            return Trial(method, sentence_of(error))
        finally:
            self.model.set_terms(None)

    def _step(self, method: Method, samples: int | None) -> dict[str, int]:
        model = self.model
        source = model.teacher_sources.get(ONLY)
        batch = random_images(
            model,
            count=self.count,
            size=self.size,
            strong='strong_transforms' in method.dataset,
        )
        with ExitStack() as stack:
            if source is not None:
                stack.enter_context(replaced(source, 'load', lambda: self.teacher))
                known = self.teacher_config
                stack.enter_context(replaced(source, 'model_config', lambda: known))
            model.set_terms(method.distill)
            model.to(self.device).train()
            distiller = model.distiller
            if distiller is not None and distiller.keeps_samples:
                count = num_samples(method.distill) or samples or self.count
                classes = model.num_classes_of(model) or 1
                distiller.set_samples(random_labels(count, classes).to(self.device))
            data = model.data_preprocessor(batch, True)
            kept = KeptMemory(model)
            with kept.counting(distiller):
                losses_of(model, data)
        return kept.terms

    def student_memory(self) -> int:
        """Return the bytes that the plain student's pass keeps for the backward pass."""
        batch = random_images(self.model, count=self.count, size=self.size)
        data = self.model.data_preprocessor(batch, True)
        kept = KeptMemory(self.model)
        with kept.counting(None):
            losses_of(self.model, data)
        return kept.student

    def student_seconds(self) -> float:
        """Return the median time of the plain student's losses, forward alone."""
        batch = random_images(self.model, count=self.count, size=self.size)
        data = self.model.data_preprocessor(batch, True)
        return self._seconds(lambda: losses_of(self.model, data))

    def teacher_seconds(self) -> float:
        """Return the median time of the teacher's pass over a batch.

        Of a detector backbone and neck: it runs no RPN, and its box head only on the RoIs that a
        term compares.
        """
        module = self.teacher.module.to(self.device)
        batch = random_images(self.model, count=self.count, size=self.size)
        data = self.model.data_preprocessor(batch, True)
        images = data['inputs'] if isinstance(data, Mapping) else data[0]
        if self.model.repeats_grey_for(self.teacher):
            images = grey_as_colours(images)
        network = self.model.network_of(module)
        run = getattr(network, 'extract_feat', network)
        with torch.no_grad():
            return self._seconds(lambda: run(images))

    def _seconds(self, run: Callable[[], Any]) -> float:
        run()
        times = []
        for _ in range(_RUNS):
            self._wait()
            start = time.perf_counter()
            run()
            self._wait()
            times.append(time.perf_counter() - start)
        return statistics.median(times)

    def _wait(self) -> None:
        if self.device.type == 'cuda':
            torch.cuda.synchronize()

    def _opened(self, pair: Pair, names: list[str] | None, path: Path) -> tuple[Teacher, Pair]:
        if pair.teacher.get('checkpoint'):
            try:
                teacher = TeacherSource.from_config(pair.teacher).load()
            except Exception as error:
                self.problem = sentence_of(error)
            else:
                self.has_weights = True
                return teacher, pair
        _save_random(TeacherSource.from_config(pair.teacher), names, path)
        pair = pair.with_teacher(checkpoint=str(path))
        return TeacherSource.from_config(pair.teacher).load(), pair


def parameters_of(module: nn.Module) -> tuple[int, int]:
    """Return how many parameters a network has, and the bytes of its weights and buffers."""
    tensors = [*module.parameters(), *module.buffers()]
    return (
        sum(one.numel() for one in module.parameters()),
        sum(one.numel() * one.element_size() for one in tensors),
    )


def _save_random(source: TeacherSource, names: list[str] | None, path: Path) -> None:
    """Write a checkpoint of random weights, which is loaded as any other is."""
    with torch.random.fork_rng(devices=[]):
        module = registry.build(source.model_config())
    meta = {} if names is None else dict(dataset_meta=dict(classes=list(names)))
    torch.save(dict(state_dict=module.state_dict(), meta=meta), path)
