"""A training run: started, resumed, validated, recorded, and refused if it is another one."""

from __future__ import annotations

import math
import os
import re
import shutil
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from wkd_det.experiments.fingerprint import differences, fingerprint
from wkd_det.experiments.lengths import length_key, training_length
from wkd_det.experiments.logs import (
    device_memory,
    read_scalars,
    read_validations,
    seconds_per_step,
    training_records,
)
from wkd_det.experiments.processes import ProcessGroup, Progress, read_progress
from wkd_det.experiments.records import (
    counted,
    machine,
    origin,
    origin_differences,
    read_record,
    rounded,
    thinned,
    today,
    write_record,
)
from wkd_det.experiments.shards import locked
from wkd_det.ops.checks import is_number, listed
from wkd_det.runtime.files import read_json, write_json

READING_CONFIGS = threading.RLock()
"""Held by whoever reads a config: mmengine looks up installed packages in an unsafe way."""

_DIVERGED = re.compile(r'FloatingPointError|error: distillation term \S+ is (nan|-?inf|not finite)')
"""The beginning of the line with which a training ends whose losses are no longer finite."""
_LOG_TAIL = 15  # lines of the log that a failure shows
_SPENT = dict(starts=0, seconds=0.0, cpu_seconds=0.0, memory=0.0, is_open=False, is_known=True)


class RunError(Exception):
    """A run that cannot be started, or has failed."""


class ChangedError(RunError):
    """A record or a folder is of another config, code or data."""


class TrainingRun:
    """A config, trained and validated in its folder, which leaves a record.

    The folder is the runner's work folder; this class keeps its own files in ``harness/`` there:
    the resolved config, the fingerprint of all it depends on, the output. They are scratch: what
    counts is the record.

    Args:
        title: Name of the run in messages.
        config: As it is trained, seed included. ``MetricFileHook`` is added to it.
        folder: Work folder.
        metric: Key of the validation result that counts, e.g. ``'coco/bbox_mAP'``; None if it may
            be any.
        tools: Folder of ``train.py`` and ``test.py``, in a checkout whose package they use.
        record: File of the record; by default in the work folder.
        about: Further content of the record, by key.
        curves: Keys of the results whose course the record holds in addition to ``metric``.
        commits: Commits of the study, whose records count; this run is of the first. See
            :func:`~wkd_det.experiments.records.origin`.
        may_fail: Keep a record of a training whose losses were no longer finite: it has lost.
        keep_checkpoints: Leave the checkpoints when the run is finished.
        processes: Above 1, that many are started through torchrun.
        threads: Threads of each process; None leaves them as they are.
    """

    def __init__(
        self,
        title: str,
        config: Config,
        folder: Path,
        metric: str | None,
        *,
        tools: Path,
        record: Path | None = None,
        about: Mapping[str, Any] | None = None,
        curves: Sequence[str] = (),
        commits: Sequence[str] = (),
        may_fail: bool = False,
        keep_checkpoints: bool = True,
        processes: int = 1,
        threads: int | None = None,
    ) -> None:
        self.title = title
        self.config = config
        self.folder = folder
        self.metric = metric
        self.tools = tools.resolve()
        self.record_file = record or self._own / 'record.json'
        self.about = dict(about or {})
        self.curves = tuple(curves)
        self.commits = tuple(commits)
        self.may_fail = may_fail
        self.keep_checkpoints = keep_checkpoints
        self.processes = processes
        self.threads = threads
        self.length = training_length(config)
        self._planned: dict[str, Any] | None = None
        config.work_dir = str(folder)
        hooks = list(config.get('custom_hooks') or [])
        if not any(hook.get('type') == 'MetricFileHook' for hook in hooks):
            config.custom_hooks = [*hooks, dict(type='MetricFileHook')]

    @property
    def is_finished(self) -> bool:
        """Whether there is a record."""
        return self.record_file.is_file()

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

    def record(self) -> dict[str, Any]:
        """Return the record that :meth:`run` wrote.

        Returns:
            ``about``; ``steps``: the length; ``metrics`` of the last step; ``curve``: pairs of step
            and value by metric; ``losses``: pairs of step and task loss; ``seconds`` and
            ``cpu_seconds`` of all starts (None if this program was killed in between and does not
            know); ``seconds_per_step``, ``peak_memory`` (MiB),
            ``memory_of``, ``starts``, ``machine``, ``date``, and what the run depended on.
            ``failed``, a sentence, and no metrics, if it broke down.
        """
        return read_record(self.record_file)

    def check(self, *, discard: bool = False) -> None:
        """Refuse the record or the folder of another run, or code and data that change meanwhile.

        Args:
            discard: Remove such a run instead.

        Raises:
            ChangedError: Naming what differs.
        """
        with READING_CONFIGS:
            now = fingerprint(self.config, processes=self.processes)
        changed = differences(self._planned or now, now)
        if changed:
            raise ChangedError(f'{self.title}: {listed(changed, 6)} has changed since the start')
        self._planned = now
        kept = read_json(self._fingerprint_file) if self._fingerprint_file.is_file() else None
        if self.is_finished:
            record = self.record()
            commit = counted(record['commit'], self.commits)
            changed = origin_differences(record, origin(now, commit))
            # Names of keys, where the folder is still there.
            changed = (changed and kept and differences(kept, now)) or changed
            place = self.record_file
        else:
            if kept is None and any(self.folder.glob('*.pth')):
                raise ChangedError(
                    f'{self.folder} holds checkpoints of unknown origin: move them away'
                )
            changed = differences(kept, now) if kept is not None and self.is_begun else []
            place = self.folder
        if not changed:
            return
        if not discard:
            raise ChangedError(f'{self.title}: {place} is of a run of other {listed(changed, 6)}')
        self.discard()

    def discard(self) -> None:
        """Remove record and folder."""
        self.record_file.unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, report: Callable[[Progress], None], group: ProcessGroup) -> None:
        """Train from where it stopped, and write the record; nothing if there is one.

        Args:
            report: Called for every line of the log that shows progress.
            group: Starts the process.

        Raises:
            ChangedError: If the folder or the record is of another run.
            LockedError: If another process is at work on this run.
            RunError: If the process fails, with the end of its output.
        """
        with locked(self.record_file) as lock:
            with READING_CONFIGS:
                self.check()
                if self.is_finished:
                    return
                self._open_folder()
            try:
                record = self._trained(lambda *words: self._execute(words, report, group, lock))
            except DivergedError as error:
                if not self.may_fail:
                    raise
                record = dict(self._begun_record(), failed=error.reason, metrics={})
            write_record(self.record_file, record)
            if not self.keep_checkpoints:
                self.discard_checkpoints()

    def discard_checkpoints(self) -> None:
        """Free the disk of a finished run if only its record is wanted."""
        for path in [*self.folder.glob('*.pth'), self.folder / 'last_checkpoint']:
            path.unlink(missing_ok=True)

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
    def _spent_file(self) -> Path:
        return self._own / 'spent.json'

    def _open_folder(self) -> None:
        """Clear the folder of a run that has no checkpoint to go on from, and say what is in it."""
        if self._fingerprint_file.is_file() and not self.is_begun:
            shutil.rmtree(self.folder)
        if not self._fingerprint_file.is_file():
            write_json(self._fingerprint_file, self._planned)
        self.config.dump(self._config_file)

    def _begun_record(self) -> dict[str, Any]:
        spent = self._spent()
        return dict(
            self.about,
            date=today(),
            steps=self.length,
            seconds=round(spent['seconds'], 2) if spent['is_known'] else None,
            cpu_seconds=round(spent['cpu_seconds'], 2) if spent['is_known'] else None,
            starts=spent['starts'],
            machine=machine(self.threads),
            **origin(self._planned, next(iter(self.commits), None)),
        )

    def _trained(self, execute: Callable[..., None]) -> dict[str, Any]:
        """Train to the end; return the record."""
        execute(self.tools / 'train.py', self._config_file, '--resume')
        unit = length_key(self.config)[len('max_') : -1]
        found = read_validations(self.folder, unit)
        if self.length not in found:  # interrupted between the last checkpoint and its validation
            found[self.length] = self._test(execute)
        if self.metric is not None and self.metric not in found[self.length]:
            raise RunError(
                f'{self.title}: the validation has no {self.metric}; it has '
                f'{sorted(found[self.length]) or "nothing"}'
            )
        records = read_scalars(self.folder)
        on_device = device_memory(records)
        terms = (self.config.model.get('distill') or {}).keys()
        losses = {
            step: rounded(record['loss'] - sum(record.get(term, 0.0) for term in terms))
            for step, record in training_records(records).items()
        }
        return dict(
            self._begun_record(),
            metrics={
                key: value if is_number(value) else rounded(value)
                for key, value in found[self.length].items()
            },
            curve={
                key: thinned({step: rounded(one[key]) for step, one in found.items() if key in one})
                for key in dict.fromkeys([self.metric, *self.curves])
                if is_number(found[self.length].get(key))
            },
            losses=thinned(losses),
            seconds_per_step=seconds_per_step(records),
            peak_memory=on_device or self._spent()['memory'] or None,
            memory_of='process' if on_device is None else 'GPU',
        )

    def _spent(self) -> dict[str, Any]:
        return read_json(self._spent_file) if self._spent_file.is_file() else dict(_SPENT)

    def _begin(self, *, is_training: bool) -> None:
        """Note the start of a process; one that is still open was killed with its program."""
        spent = self._spent()
        spent['starts'] += is_training
        spent['is_known'] &= not spent['is_open']
        spent['is_open'] = True
        write_json(self._spent_file, spent)

    def _execute(
        self,
        words: Sequence[str | Path],
        report: Callable[[Progress], None],
        group: ProcessGroup,
        lock: int,
    ) -> None:
        """Run a script to its end; the process inherits the lock, so one left behind keeps it."""
        arguments = [str(word) for word in words]
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
        progress = reason = None
        tail: deque[str] = deque(maxlen=_LOG_TAIL)  # of this start: earlier ones had other reasons
        self._begin(is_training=arguments[0].endswith('train.py'))
        begin = time.monotonic()
        with log.open('a', encoding='utf-8') as file:
            process = group.start(command, env=environment, pass_fds=[lock])
            for line in process.stdout:
                file.write(line)
                file.flush()
                tail.append(line.rstrip('\n'))
                if _DIVERGED.match(line):
                    reason = tail[-1]
                step = read_progress(line, max_epochs=max_epochs)
                if step is not None:
                    progress = step
                    report(progress)
            usage = group.wait(process)
        spent = self._spent()
        spent['is_open'] = False
        spent['seconds'] += time.monotonic() - begin
        spent['cpu_seconds'] += usage.cpu_seconds
        if progress is not None:
            spent['memory'] = max(spent['memory'], usage.memory)
        write_json(self._spent_file, spent)
        if process.returncode != 0:
            text = f'{self.title} failed (all of it in {log}):\n' + '\n'.join(tail)
            if reason is None and progress is not None and not math.isfinite(float(progress.loss)):
                reason = tail[-1]
            by_itself = process.returncode > 0  # not by a signal
            raise DivergedError(text, reason) if by_itself and reason else RunError(text)

    def _test(self, execute: Callable[..., None]) -> dict[str, Any]:
        """Return the results of the last checkpoint on the validation data."""
        config = Config(self.config.to_dict())
        for part in ('cfg', 'dataloader', 'evaluator'):
            config[f'test_{part}'] = config[f'val_{part}']
        config.test_cfg.type = 'TestLoop'
        path, folder = self._own / 'test.py', self._own / 'test'
        config.dump(path)
        execute(self.tools / 'test.py', path, self.checkpoint, '--work-dir', folder)
        return read_validations(folder, 'iter').get(None, {})


class DivergedError(RunError):
    """A training whose losses were no longer finite.

    Args:
        text: The message.
        reason: The line of the output that says so.
    """

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(text)
        self.reason = reason
