"""A training run in its folder: started, resumed, validated, and refused if it is another."""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.config import Config

from wkd_det.experiments.fingerprint import differences, fingerprint, identity
from wkd_det.experiments.processes import (
    ProcessGroup,
    Progress,
    device_memory,
    read_progress,
    read_scalars,
    seconds_per_step,
    training_records,
    validation_records,
)
from wkd_det.runtime.files import read_json, write_json

_LOG_TAIL = 15  # lines of the log that a failure shows
_READING_CONFIGS = threading.Lock()  # mmengine looks up installed packages in an unsafe way


class RunError(Exception):
    """A run that cannot be started, or has failed."""


class ChangedError(RunError):
    """A folder holds a run of another config, code or data."""


def length_key(config: Config) -> str:
    """Return ``'max_iters'`` or ``'max_epochs'``: the unit in which the config counts.

    Raises:
        ValueError: If it has neither.
    """
    for key in ('max_iters', 'max_epochs'):
        if config.get('train_cfg') and config.train_cfg.get(key):
            return key
    raise ValueError('the config has no train_cfg with max_iters or max_epochs')


def training_length(config: Config) -> int:
    """Return the number of iterations, or of epochs of an epoch-based config."""
    key = length_key(config)
    return config.train_cfg[key]


def set_length(config: Config, length: int) -> None:
    """Let a config train for another number of iterations (or epochs, if it counts those).

    Whatever was at the end stays at the end: the schedulers' ``end`` and ``T_max``, and a
    validation after the last step. Milestones keep their place relative to the length; a warm-up
    keeps its steps.

    Raises:
        ValueError: If ``length`` is below 1.
    """
    if length < 1:
        raise ValueError(f'length must be at least 1, got {length}')
    key = length_key(config)
    old = config.train_cfg[key]
    config.train_cfg[key] = length
    if not old > config.train_cfg.get('val_interval', 1) <= length:
        config.train_cfg.val_interval = length
    by_epoch = key == 'max_epochs'
    schedulers = config.get('param_scheduler') or []
    for scheduler in schedulers if isinstance(schedulers, list) else [schedulers]:
        if scheduler.get('by_epoch', True) == by_epoch:
            _stretch(scheduler, old, length)


def _stretch(scheduler: Any, old: int, new: int) -> None:
    for key in ('end', 'T_max', 'total_iters', 'total_steps'):
        if scheduler.get(key) == old:
            scheduler[key] = new
    if 'milestones' in scheduler:
        scheduler.milestones = [max(1, round(at * new / old)) for at in scheduler.milestones]


class TrainingRun:
    """A config, trained and validated in its folder.

    The folder is the runner's work folder; this class keeps its own files in ``harness/`` there:
    the resolved config, the fingerprint of all it depends on, the output and the result.

    Args:
        title: Name of the run in messages.
        config: As it is trained, seed included. If it is iteration-based, its validations are
            logged by iteration.
        folder: Work folder.
        metric: Key of the validation result that counts, e.g. ``'coco/bbox_mAP'``.
        tools: Folder of ``train.py`` and ``test.py``, in a checkout whose package they use.
        processes: Above 1, that many are started through torchrun.
        threads: Threads of each process; None leaves them as they are.
    """

    def __init__(
        self,
        title: str,
        config: Config,
        folder: Path,
        metric: str,
        *,
        tools: Path,
        processes: int = 1,
        threads: int | None = None,
    ) -> None:
        self.title = title
        self.config = config
        self.folder = folder
        self.metric = metric
        self.tools = tools.resolve()
        self.processes = processes
        self.threads = threads
        self.length = training_length(config)
        self._planned: dict[str, Any] | None = None
        config.work_dir = str(folder)
        if length_key(config) == 'max_iters':  # mmengine would count its only epoch, 0
            hooks = config.get('default_hooks') or {}
            options = {'type': 'LoggerHook', **hooks.get('logger', {})}
            options['log_metric_by_epoch'] = False
            config.merge_from_dict({'default_hooks.logger': options})

    @property
    def is_finished(self) -> bool:
        """Whether there is a result."""
        return self._result_file.is_file()

    @property
    def has_failed(self) -> bool:
        """Whether its process ended with an error the last time."""
        return self._failure_file.is_file()

    @property
    def is_begun(self) -> bool:
        """Whether there is a checkpoint to go on from."""
        return (self.folder / 'last_checkpoint').is_file()

    @property
    def checkpoint(self) -> Path:
        """The last checkpoint.

        Raises:
            RunError: If there is none.
        """
        pointer = self.folder / 'last_checkpoint'
        name = Path(pointer.read_text(encoding='utf-8').strip()).name if pointer.is_file() else ''
        path = self.folder / name
        if not path.is_file():
            raise RunError(f'{self.title}: no checkpoint in {self.folder}')
        return path

    def result(self) -> dict[str, Any]:
        """Return the result that :meth:`run` kept.

        Returns:
            ``metrics`` (of the last step), ``curve`` (the metric by step), ``losses`` (task loss
            by step), ``seconds_per_step``, ``peak_memory`` (MiB), ``memory_of``, ``starts`` and
            ``fingerprint`` (its identity).
        """
        return read_json(self._result_file)

    def kept_fingerprint(self) -> dict[str, Any] | None:
        """Return the fingerprint of the run in the folder."""
        return read_json(self._fingerprint_file) if self._fingerprint_file.is_file() else None

    def fingerprint(self) -> dict[str, Any]:
        """Return the fingerprint of the run as it would be started now."""
        return fingerprint(self.config, processes=self.processes)

    def check(self, *, discard: bool = False) -> None:
        """Refuse a folder whose run is not this one, or code and data that change meanwhile.

        Args:
            discard: Remove such a run instead.

        Raises:
            ChangedError: Naming what differs.
        """
        now = self.fingerprint()
        changed = differences(self._planned or now, now)
        if changed:
            raise ChangedError(f'{self.title}: {_some(changed)} has changed since the start')
        self._planned = now
        kept = self.kept_fingerprint()
        if kept is None:
            if any(self.folder.glob('*.pth')):
                raise ChangedError(
                    f'{self.folder} holds checkpoints of unknown origin: move them away'
                )
            return
        changed = differences(kept, self._planned)
        if not changed:
            return
        if not discard:
            raise ChangedError(f'{self.title}: {self.folder} holds a run of other {_some(changed)}')
        shutil.rmtree(self.folder)

    def run(self, report: Callable[[Progress], None], group: ProcessGroup) -> None:
        """Train from where it stopped, and keep the result; nothing if it is finished.

        Args:
            report: Called for every line of the log that shows progress.
            group: Starts the process.

        Raises:
            ChangedError: If the folder holds another run.
            RunError: If the process fails, with the end of its output.
        """
        with _READING_CONFIGS:
            self.check()
            if self.is_finished:
                return
            if self.kept_fingerprint() is None:
                write_json(self._fingerprint_file, self._planned)
            self.config.dump(self._config_file)
        starts = 1 + (read_json(self._starts_file) if self._starts_file.is_file() else 0)
        write_json(self._starts_file, starts)
        self._failure_file.unlink(missing_ok=True)
        arguments = [str(self.tools / 'train.py'), str(self._config_file), '--resume']
        memory = self._execute(arguments, report, group)
        records = read_scalars(self.folder)
        curve = validation_records(records, self.metric)
        if self.length not in curve:  # interrupted between the last checkpoint and its validation
            curve[self.length] = self._test(report, group)
        on_device = device_memory(records)
        terms = (self.config.model.get('distill') or {}).keys()
        result = dict(
            metrics=curve[self.length],
            curve={step: metrics[self.metric] for step, metrics in curve.items()},
            losses={
                step: record['loss'] - sum(record.get(term, 0.0) for term in terms)
                for step, record in training_records(records).items()
            },
            seconds_per_step=seconds_per_step(records),
            peak_memory=on_device or memory,
            memory_of='process' if on_device is None else 'GPU',
            starts=starts,
            fingerprint=identity(self.kept_fingerprint()),
        )
        write_json(self._result_file, result)

    def discard_checkpoints(self) -> None:
        """Free the disk of a finished run if only its result is wanted."""
        for path in self.folder.glob('*.pth'):
            path.unlink()

    @property
    def _own(self) -> Path:
        return self.folder / 'harness'

    @property
    def _config_file(self) -> Path:
        return self._own / f'{self.folder.name}.py'

    @property
    def _fingerprint_file(self) -> Path:
        return self._own / 'fingerprint.json'

    @property
    def _failure_file(self) -> Path:
        return self._own / 'failure.json'

    @property
    def _starts_file(self) -> Path:
        return self._own / 'starts.json'

    @property
    def _result_file(self) -> Path:
        return self._own / 'result.json'

    def _execute(
        self,
        arguments: list[str],
        report: Callable[[Progress], None],
        group: ProcessGroup,
    ) -> float | None:
        """Run a tool to its end.

        Returns:
            The peak resident memory of its process in MiB, or None if it had nothing to train.
        """
        command = [sys.executable, *arguments]
        if self.processes > 1:
            launcher = ['-m', 'torch.distributed.run', '--standalone']
            launcher += [f'--nproc_per_node={self.processes}']
            command = [sys.executable, *launcher, *arguments, '--launcher', 'pytorch']
        environment = dict(os.environ)
        # The checkout's own package, where the tools were started without installing it.
        paths = [str(self.tools.parent), *filter(None, [environment.get('PYTHONPATH')])]
        environment['PYTHONPATH'] = os.pathsep.join(paths)
        if self.threads is not None:
            for name in ('OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'OPENBLAS_NUM_THREADS'):
                environment[name] = str(self.threads)
        log = self._own / 'output.log'
        max_epochs = self.config.train_cfg.get('max_epochs')
        has_trained = False
        with self._locked() as lock, log.open('a', encoding='utf-8') as file:
            process = group.start(command, env=environment, pass_fds=[lock])
            for line in process.stdout:
                file.write(line)
                file.flush()
                progress = read_progress(line, max_epochs=max_epochs)
                if progress is not None:
                    has_trained = True
                    report(progress)
            memory = group.wait(process)
        if process.returncode != 0:
            tail = '\n'.join(log.read_text(encoding='utf-8').splitlines()[-_LOG_TAIL:])
            message = f'{self.title} failed (all of it in {log}):\n{tail}'
            if process.returncode > 0:  # by itself, not by a signal
                write_json(self._failure_file, message)
            raise RunError(message)
        return memory if has_trained else None

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """Hold the folder; the process inherits the lock, so one that is left behind keeps it."""
        with (self._own / 'lock').open('w') as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RunError(
                    f'{self.title}: another process is at work in {self.folder}'
                ) from None
            yield file.fileno()

    def _test(self, report: Callable[[Progress], None], group: ProcessGroup) -> dict[str, float]:
        """Return the results of the last checkpoint on the validation data."""
        config = Config(self.config.to_dict())
        for part in ('cfg', 'dataloader', 'evaluator'):
            config[f'test_{part}'] = config[f'val_{part}']
        config.test_cfg.type = 'TestLoop'
        path = self._own / 'test.py'
        folder = self._own / 'test'
        config.dump(path)
        arguments = [str(self.tools / 'test.py'), str(path), str(self.checkpoint)]
        self._execute([*arguments, '--work-dir', str(folder)], report, group)
        found = [read_json(file) for file in sorted(folder.glob('*/*.json'))]
        results = [result for result in found if self.metric in result]
        if not results:
            raise RunError(
                f'{self.title}: the validation has no {self.metric}; it has '
                f'{sorted(found[-1]) if found else "nothing"}'
            )
        return {key: value for key, value in results[-1].items() if '/' in key}


def _some(names: list[str]) -> str:
    return ', '.join(names[:6]) + (', ...' if len(names) > 6 else '')
