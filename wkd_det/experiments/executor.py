"""Execution of the runs of a study: several at once, each as soon as what it needs is there."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from wkd_det.experiments.plan import Plan
from wkd_det.experiments.processes import ProcessGroup, Progress
from wkd_det.experiments.progress import Clock
from wkd_det.experiments.run import ChangedError, RunError, TrainingRun
from wkd_det.experiments.shards import LockedError, Shard
from wkd_det.experiments.study import FINAL, Key, Study, length_of
from wkd_det.ops.checks import listed

TAG = '[compare]'
POLL = 30.0
"""Seconds after which a process that waits for the runs of others looks again."""


def say(text: str) -> None:
    """Print a line at once."""
    print(f'{TAG} {text}', flush=True)


class Executor:
    """Trains the runs of a study that are missing.

    Args:
        study: Knows which runs are missing.
        plan: Gives the training of each.
        shard: Share of the runs that is done here.
        jobs: Number of processes at once.
        waits: Wait for runs of other shards, and for those at which other processes are at work.
        only: Names of the methods whose runs are done here, with the searches that they borrow;
            empty for all.
        before: Called before each run is started; it refuses by an exception.

    Raises:
        KeyError: If the study has no method of a name in ``only``.
    """

    def __init__(
        self,
        study: Study,
        plan: Plan,
        *,
        shard: Shard,
        jobs: int,
        waits: bool,
        only: Sequence[str] = (),
        before: Callable[[], None],
    ) -> None:
        known = [method.name for method in study.spec.methods]
        unknown = [name for name in only if name not in known]
        if unknown:
            raise KeyError(
                f'only must name methods of {study.spec.path}: {listed(known, 30)}, '
                f'got {listed(unknown)}'
            )
        self.study = study
        self.plan = plan
        self.shard = shard
        self.jobs = jobs
        self.waits = waits
        self.only = only
        self.before = before
        self.clock = Clock(jobs)
        self.failures: dict[str, str] = {}
        self._working: dict[Future, Key] = {}
        self._locked: set[Key] = set()
        self._checked: set[Key] = set()
        self._todo: list[tuple[str, float]] = []
        self._group = ProcessGroup()

    def execute(self) -> list[str]:
        """Run all that can be run here; a failure does not stop the others.

        Returns:
            Names of the runs that are missing for lack of what others have to do; ``failures``
            holds those that have failed here. What waits for those is in neither.

        Raises:
            ChangedError: If a record is of another run, or code or data change meanwhile; then no
                further run starts.
            KeyboardInterrupt: After the processes have ended.
            ValueError: If all runs of a stage of a search have failed.
        """
        pool = ThreadPoolExecutor(self.jobs)
        waited = False
        try:
            while True:
                pending = self._pending()
                own = [key for key in pending if self._is_ours(key)]
                free = self.jobs - len(self._working)
                self._todo = self._not_begun(own[free:])
                self._start(own[:free], pool)
                if self._working:
                    self._collect()
                elif self.waits and self._depends_on_others(pending):
                    if not waited:
                        say(f'waiting: {len(pending)} runs are missing that others do')
                    waited = True
                    time.sleep(POLL)
                    self._locked.clear()
                else:
                    return [key.name for key in pending]
        finally:
            # Also if an error of ours ends the study: no process is left behind.
            pool.shutdown(wait=False, cancel_futures=True)
            self._group.end()
            pool.shutdown(wait=True)

    def _pending(self) -> list[Key]:
        """Return the runs that are missing and neither at work nor failed here."""
        at_work = set(self._working.values())
        pending = self.study.pending(self.only)
        unseen = [key for key in self.study.seen() if key not in self._checked]
        for key in unseen:
            self.plan.run(key).check(discard=self.study.discard)
            self._checked.add(key)
        if unseen:
            self.clock.learn(self.study.seen().values())
            pending = self.study.pending(self.only)  # some may have been removed
        return [key for key in pending if key not in at_work and key.name not in self.failures]

    def _is_ours(self, key: Key) -> bool:
        return self.shard.owns(key.name) and key not in self._locked

    def _depends_on_others(self, pending: list[Key]) -> bool:
        """Whether runs are left for us that wait for others, or others are at work on ours."""
        if not pending and not self.study.borrowed(self.only):
            return False  # all that could be begun is done, or has failed here
        later = any(
            key.stage != FINAL or self.shard.owns(key.name) for key in self.study.later(self.only)
        )
        return later or any(self.shard.owns(key.name) for key in pending)

    def _start(self, keys: list[Key], pool: ThreadPoolExecutor) -> None:
        for key in keys:
            self.before()
            run = self.plan.run(key)
            if self.study.discard:
                self.study.remove_changed(key)
            run.check(discard=self.study.discard)
            self._working[pool.submit(self._train, run)] = key

    def _collect(self) -> None:
        """Wait until a run has ended."""
        done, _ = wait(self._working, return_when=FIRST_COMPLETED)
        for future in done:
            key = self._working.pop(future)
            error = future.exception()
            if isinstance(error, LockedError):
                self._locked.add(key)
            elif isinstance(error, RunError) and not isinstance(error, ChangedError):
                self.failures[key.name] = str(error)
                say(str(error))
            elif error is not None:
                raise error
            else:
                self._say_end(key)

    def _train(self, run: TrainingRun) -> None:
        try:
            run.run(lambda progress: self._report(run, progress), self._group)
        finally:
            self.clock.end(run)

    def _report(self, run: TrainingRun, progress: Progress) -> None:
        self.clock.step(run, progress.step / progress.total)
        say(
            f'{run.title}: step {progress.step}/{progress.total}, loss {progress.loss}; '
            f'all in about {self.clock.left(self._todo)}'
        )

    def _say_end(self, key: Key) -> None:
        record = self.study.record(key) or {}
        result = record.get('failed')
        if result is None:
            result = f'{self.study.spec.metric} {record["metrics"][self.study.spec.metric]:.4f}'
        count = len(self.study.seen())
        say(f'{self.plan.run(key).title}: {result}; {count} runs are finished')

    def _not_begun(self, keys: Sequence[Key]) -> list[tuple[str, float]]:
        """Return method and number of steps of the runs of ours that are still to begin.

        Of searches that have not come so far the points are not known, and so not the shard: an
        equal share of them is taken.
        """
        found = [(key.method, float(self.plan.run(key).length)) for key in keys]
        usual = max((steps for _, steps in found), default=0.0)
        for key in self.study.later(self.only):
            steps = length_of(self.study.spec, key) or usual
            found.append((key.method, steps / self.shard.count))
        return found
