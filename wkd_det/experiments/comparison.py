"""A study from its spec to its report: preparation, search, training of all runs, tables."""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from wkd_det.experiments.executor import POLL, Executor, say
from wkd_det.experiments.kept import keep_weights
from wkd_det.experiments.lengths import length_key
from wkd_det.experiments.plan import Plan
from wkd_det.experiments.processes import ProcessGroup, Progress
from wkd_det.experiments.records import read_record
from wkd_det.experiments.report import write_report
from wkd_det.experiments.revision import check_revision
from wkd_det.experiments.run import RunError, TrainingRun
from wkd_det.experiments.shards import WHOLE, LockedError, Shard, locked
from wkd_det.experiments.spec import Preparation, Spec
from wkd_det.experiments.study import CHECK, SEARCH, Study


class Comparison:
    """A spec and what is done with it.

    Args:
        spec: Methods, seeds and everything else that is to be compared.
        tools: Folder of the scripts that train and test.
        jobs: Number of processes at once.
        threads: Threads of each process; None leaves them as they are.
        shard: Share of the runs that is done here.
        waits: Wait for the runs of others.
        discard: Remove runs of other code, config or data instead of refusing them.
        retry: Start runs of the search again that have failed before.
        keep_checkpoints: Leave the checkpoints of finished runs.
        only: Names of the methods whose runs are done here; empty for all.
        output: Folder of tables and figures.
    """

    def __init__(
        self,
        spec: Spec,
        *,
        tools: Path,
        jobs: int = 1,
        threads: int | None = None,
        shard: Shard = WHOLE,
        waits: bool = False,
        discard: bool = False,
        retry: bool = False,
        keep_checkpoints: bool = False,
        only: Sequence[str] = (),
        output: Path | None = None,
    ) -> None:
        self.spec = spec
        self.tools = tools
        self.shard = shard
        self.waits = waits
        self.retry = retry
        self.only = only
        self.output = output or spec.work_dir
        self.study = Study(spec, discard=discard)
        self.plan = Plan(spec, tools=tools, threads=threads, keep_checkpoints=keep_checkpoints)
        self.executor = Executor(
            self.study,
            self.plan,
            shard=shard,
            jobs=jobs,
            waits=waits,
            only=only,
            before=self._check_code,
        )

    def run(self) -> Sequence[str]:
        """Prepare, search, train; then report.

        Returns:
            Names of the runs that are missing because others have them to do.

        Raises:
            ChangedError: If a record or a folder is of another run, or code or data change
                meanwhile.
            RevisionError: If the study names a commit, and the code here is not that.
            RunError: If a preparation or a run fails, or the search of another study, whose
                factors are wanted, is not complete.
            ValueError: If a key that the search scales is no number in a config.
        """
        self._check_code()
        self.plan.check()
        if self.retry:
            self._forget_failures()
        for entry in self.spec.prepare:
            if not self._prepared(entry):
                return [f'prepare/{entry.name}']
        missing = self.executor.execute()
        failures = self.executor.failures
        if self.study.results():
            self.report()
        if failures:
            raise RunError(f'{len(failures)} runs have failed, see above; the table lacks them')
        borrowed = self.study.borrowed(self.only)
        if borrowed:
            raise RunError(
                f'{len(borrowed)} runs of the search of {self.study.lender.spec.path} are missing, '
                f'which gives the factors: run that first'
            )
        return missing

    def report(self) -> None:
        """Write tables and figures of the runs that are finished, from their records alone.

        Raises:
            ChangedError: If the records do not belong together, or are not those of the spec.
            RunError: If there are none.
        """
        text = write_report(self.study, self.output)
        print(f'\n{text}', flush=True)
        say(f'written to {self.output}')

    def _check_code(self) -> None:
        if self.spec.commit is not None:
            check_revision(self.tools.parent, self.spec.commit)

    def _forget_failures(self) -> None:
        """Remove the failed runs of the searches that are done here."""
        root = self.spec.records
        for method in self.study.searched(self.only):
            for stage in (SEARCH, CHECK):
                for path in root.glob(f'{stage}/{method.name}/*.json'):
                    name = path.relative_to(root).with_suffix('').as_posix()
                    if self.shard.owns(name) and 'failed' in read_record(path):
                        path.unlink()

    def _prepared(self, entry: Preparation) -> bool:
        """Do what comes first; return whether it is done, or left to others."""
        waited = False
        while True:
            there = _made(entry)
            if there is not None:
                say(f'{entry.name}: {there} is there')
                return True
            try:
                # Machines without a common disk must not train a teacher each.
                if entry.keep is not None and self.shard.index > 1:
                    raise LockedError(f'{entry.keep} is missing, which shard 1 makes')
                if entry.config is None:
                    make(entry)
                else:
                    self._train(entry)
                return True
            except LockedError as error:
                if not self.waits:
                    say(f'{entry.name}: {error}')
                    return False
                if not waited:
                    say(f'{entry.name}: {error}; waiting')
                waited = True
                time.sleep(POLL)

    def _train(self, entry: Preparation) -> None:
        run = self.plan.preparation(entry)
        run.check(discard=self.study.discard)
        if run.is_finished and not run.is_begun:  # a record, and the checkpoint is gone
            run.discard()
        if not run.is_finished:
            unit = length_key(run.config).removeprefix('max_')
            say(f'{entry.name}: {run.length} {unit}, log in {run.folder}')
        group = ProcessGroup()
        try:
            run.run(lambda progress: _say_progress(run, progress), group)
        finally:
            group.end()
        if entry.keep is not None:
            keep_weights(run.checkpoint, Path(entry.keep))
            if not self.plan.keep_checkpoints:
                run.discard_checkpoints()


def _say_progress(run: TrainingRun, progress: Progress) -> None:
    say(
        f'{run.title}: step {progress.step}/{progress.total}, loss {progress.loss}; '
        f'{progress.remaining} to go'
    )


def make(entry: Preparation) -> None:
    """Run a command of ``prepare``.

    Raises:
        LockedError: If another process runs it.
        RunError: If it fails, or does not make what the entry says.
    """
    if entry.makes is None:
        _run(entry)
        return
    with locked(Path(entry.makes), with_its_folder=True) as lock:
        if not is_made(entry):  # else another process has ended meanwhile
            _run(entry, lock)
            if not Path(entry.makes).exists():
                raise RunError(f'{entry.name} did not make {entry.makes}')


def is_made(entry: Preparation) -> bool:
    """Whether the output of a command is there and no older than its inputs."""
    if entry.makes is None or not Path(entry.makes).exists():
        return False
    made = Path(entry.makes).stat().st_mtime
    return all(
        not Path(path).exists() or Path(path).stat().st_mtime <= made for path in entry.needs
    )


def _made(entry: Preparation) -> str | None:
    """Return what an entry makes if it is there."""
    if entry.config is None:
        return entry.makes if is_made(entry) else None
    return entry.keep if entry.keep is not None and Path(entry.keep).is_file() else None


def _run(entry: Preparation, *inherited: int) -> None:
    """Run the command; the process inherits the descriptors, so one left behind keeps a lock."""
    words = [sys.executable if word == 'python' else word for word in entry.command]
    say(f'{entry.name}: {shlex.join(entry.command)}')
    code = subprocess.run(words, check=False, pass_fds=inherited).returncode
    if code != 0:
        raise RunError(f'{entry.name} failed with exit code {code}')
