"""State of a study, read from its records: what is chosen, finished and missing."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from wkd_det.experiments.fingerprint import differences
from wkd_det.experiments.records import counted, read_record
from wkd_det.experiments.run import ChangedError
from wkd_det.experiments.search import Point, SearchState, advance, best_points, mean, neighbours
from wkd_det.experiments.spec import Method, Spec

SEARCH, CHECK, FINAL = 'search', 'check', 'final'

Results = Mapping[str, Mapping[int, Mapping[str, Any]]]
"""Records of the final runs by method and seed."""


@dataclass(frozen=True)
class Key:
    """Name of a run: the stage, method, factors and seed that no other run of its study has."""

    stage: str
    """``'search'``, ``'check'`` or ``'final'``."""
    method: str
    point: Point
    """Factors of the stages of the method's search; empty without a search."""
    seed: int

    @property
    def name(self) -> str:
        """Path of the record below the folder of records, without its suffix.

        The point is part of it in a search; a final run has but one.
        """
        factors = ''.join(f'x{factor:g}_' for factor in self.point) if self.stage != FINAL else ''
        return f'{self.stage}/{self.method}/{factors}seed_{self.seed}'


@dataclass(frozen=True)
class Choice:
    """The factors of a method, and how they were found."""

    state: SearchState
    check: Mapping[Point, float]
    """Mean scores of the best points at the length of the check; empty without one."""
    chosen: Point | None
    score: float
    """Mean score of the chosen point in the search, or in its check; NaN without one."""
    missing: tuple[Key, ...] = ()
    """Runs that must be there before it is known."""
    at_limit: bool = False
    """Whether the check went on as far as allowed and its best point has a neighbour left."""

    @property
    def agrees(self) -> bool:
        """Whether the check has the same winner as the search."""
        return self.chosen == best_points(self.state.points, 1)[0]


class Study:
    """Records of a spec.

    Args:
        spec: The study.
        discard: Take records of other runs than the spec asks for as missing instead of refusing
            them; :meth:`remove_changed` removes them.
    """

    def __init__(self, spec: Spec, *, discard: bool = False) -> None:
        self.spec = spec
        self.discard = discard
        self._read: dict[Key, tuple[int, dict[str, Any]]] = {}

    def path(self, key: Key) -> Path:
        """Return the file of a run's record."""
        return self.spec.records / f'{key.name}.json'

    def record(self, key: Key) -> dict[str, Any] | None:
        """Return the record of a run, or None if it is missing.

        Raises:
            ChangedError: If it is of another run than the spec asks for.
            ValueError: If it is no record, or lacks the metric of the study.
        """
        path = self.path(key)
        try:
            changed = path.stat().st_mtime_ns
        except FileNotFoundError:
            self._read.pop(key, None)
            return None
        known = self._read.get(key)
        if known is None or known[0] != changed:
            record = read_record(path)
            expected = plain(about(self.spec, key))
            expected['commit'] = counted(record['commit'], self.spec.commits)
            found = {name: record.get(name) for name in expected}
            different = [name for name in differences(found, expected) if name != 'study']
            if different and self.discard:
                return None
            if different:
                raise ChangedError(f'{path} is the record of a run of other {", ".join(different)}')
            if 'failed' not in record and self.spec.metric not in record['metrics']:
                raise ValueError(
                    f'{path} has no {self.spec.metric}; it has {sorted(record["metrics"])}'
                )
            self._read[key] = known = (changed, record)
        return known[1]

    def remove_changed(self, key: Key) -> None:
        """Remove the record of a run if it is of another one than the spec asks for."""
        if self.path(key).is_file() and self.record(key) is None:
            self.path(key).unlink(missing_ok=True)

    def choice(self, method: Method) -> Choice:
        """Return the factors of a method, as far as they are known.

        Raises:
            ValueError: If all runs of a stage have failed.
        """
        if method.like != method.name or self.lender is not None:
            lender = self.lender or self
            return lender.choice(lender.spec.method(method.like))
        search = self.spec.search
        if search is None:
            return Choice(SearchState(), {}, (), math.nan)

        def score(point: Point, seed: int) -> float | None:
            return self._score(Key(SEARCH, method.name, point, seed))

        try:
            state = advance(method.stages, search.seeds, search.widen, score)
        except ValueError as error:
            raise ValueError(f'{method.title}: {error}') from None
        if state.chosen is None:
            missing = tuple(Key(SEARCH, method.name, *one) for one in state.missing)
            return Choice(state, {}, None, math.nan, missing)
        if search.check is None:
            return Choice(state, {}, state.chosen, state.points[state.chosen])
        return self._checked(method, state)

    def finals(self, only: Collection[str] = ()) -> Iterator[tuple[Method, int, Key | None]]:
        """Yield method, seed and key of each run of the table, all methods of a seed first.

        The key is None as long as the method's factors are not known.

        Args:
            only: As of :meth:`pending`.
        """
        methods = self._wanted(only)
        chosen = {method.name: self.choice(method).chosen for method in methods}
        for seed in self.spec.seeds:
            for method in methods:
                if seed in method.seeds:
                    point = chosen[method.name]
                    key = None if point is None else Key(FINAL, method.name, point, seed)
                    yield method, seed, key

    def pending(self, only: Collection[str] = ()) -> list[Key]:
        """Return the runs that are missing and can be started: searches first, then the table.

        Args:
            only: Names of the methods of which runs are wanted, with the searches that they
                borrow; empty for all.
        """
        searched = [key for method in self.searched(only) for key in self.choice(method).missing]
        searched.sort(key=lambda key: key.seed)
        finals = [key for *_, key in self.finals(only) if key is not None and not self.record(key)]
        return searched + finals

    def later(self, only: Collection[str] = ()) -> list[Key]:
        """Return the runs that cannot be started yet: their factors depend on other runs.

        The points in them are made up. Of a search it is what a grid that needs no widening takes.

        Args:
            only: As of :meth:`pending`.
        """
        found = []
        for method in self.searched(only):
            choice = self.choice(method)
            left = method.stages[len(choice.state.stages) + 1 :] if choice.missing else ()
            found += [
                Key(SEARCH, method.name, (factor,) * len(method.stages), seed)
                for stage in left
                for factor in stage.factors[1:]
                for seed in self.spec.search.seeds
            ]
        return found + [
            Key(FINAL, method.name, (), seed)
            for method, seed, key in self.finals(only)
            if key is None
        ]

    def borrowed(self, only: Collection[str] = ()) -> list[Key]:
        """Return the missing runs of the study whose search gives the factors of this one.

        Args:
            only: As of :meth:`pending`.
        """
        if self.lender is None:
            return []
        names = {method.like for method in self._wanted(only)}
        return [
            key
            for method in self.lender.spec.methods
            if method.name in names
            for key in self.lender.choice(method).missing
        ]

    def results(self) -> dict[str, dict[int, dict[str, Any]]]:
        """Return the records of the table that there are, by method and seed.

        A record counts as long as the factors in it are those that the search has chosen.
        """
        found: dict[str, dict[int, dict[str, Any]]] = {}
        for method, seed, key in self.finals():
            record = None if key is None else self.record(key)
            if record is not None:
                found.setdefault(method.name, {})[seed] = record
        return found

    def records(self) -> dict[Key, dict[str, Any]]:
        """Return all records of the study: of the table, and of the searches as far as they are."""
        self.results()
        return self.seen()

    def seen(self) -> dict[Key, dict[str, Any]]:
        """Return the records that have been read so far, by name."""
        read = sorted(self._read.items(), key=lambda item: item[0].name)
        return {key: record for key, (_, record) in read}

    def _checked(self, method: Method, state: SearchState) -> Choice:
        """Return the choice of the check of a search that is complete."""
        search = self.spec.search
        checked: dict[Point, float] = {}
        points = best_points(state.points, search.check.factors)
        for _ in range(search.widen + 1):
            keys = [
                Key(CHECK, method.name, point, seed) for point in points for seed in search.seeds
            ]
            scores = {key: self._score(key) for key in keys}
            missing = tuple(key for key, score in scores.items() if score is None)
            if missing:
                return Choice(state, {}, None, math.nan, missing)
            checked |= {
                point: mean([score for key, score in scores.items() if key.point == point])
                for point in points
            }
            ranked = best_points(checked, 1)
            if not ranked:
                raise ValueError(f'{method.title}: all runs of the check have failed')
            (best,) = ranked
            grid = [*state.stages[-1].scores, *(point[-1] for point in checked)]
            points = [point for point in neighbours(best, grid) if point not in checked]
            if not points:
                break
        return Choice(state, checked, best, checked[best], at_limit=bool(points))

    def _wanted(self, only: Collection[str]) -> list[Method]:
        """Return the methods of these names, or all."""
        return [method for method in self.spec.methods if not only or method.name in only]

    def searched(self, only: Collection[str] = ()) -> list[Method]:
        """Return the methods of this study whose searches give factors to the wanted ones.

        Args:
            only: As of :meth:`pending`.
        """
        if self.lender is not None:
            return []
        names = {method.like for method in self._wanted(only)}
        return [method for method in self.spec.methods if method.name in names]

    @cached_property
    def lender(self) -> Study | None:
        """The study whose choices are used, if it is another one."""
        search = self.spec.search
        return None if search is None or search.of is None else Study(search.of)

    def _score(self, key: Key) -> float | None:
        record = self.record(key)
        if record is None:
            return None
        value = record['metrics'].get(self.spec.metric)
        return math.nan if value is None else value


def values_of(results: Results, method: str, key: str) -> dict[int, float]:
    """Return a result of a method by seed, as far as there are records with it."""
    found = {seed: record['metrics'].get(key) for seed, record in results.get(method, {}).items()}
    return {seed: value for seed, value in found.items() if value is not None}


def values_ending(results: Results, method: str, name: str) -> dict[int, Any]:
    """Return, by seed, the result of a method whose key is a name after any prefix."""
    return {
        seed: value
        for seed, record in sorted(results.get(method, {}).items())
        for key, value in record['metrics'].items()
        if key.rpartition('/')[2] == name
    }


def about(spec: Spec, key: Key) -> dict[str, Any]:
    """Return the part of a record that says which run of which study it is."""
    method = spec.method(key.method)
    overrides = {**spec.overrides, **method.overrides}
    if key.stage != FINAL:
        overrides |= spec.search.overrides
    return dict(
        study=spec.name,
        stage=key.stage,
        method=key.method,
        seed=key.seed,
        length=length_of(spec, key),
        scaled=[
            dict(keys=list(stage.keys), factor=factor)
            for stage, factor in zip(method.stages, key.point)
        ],
        config=method.config,
        overrides=overrides,
    )


def length_of(spec: Spec, key: Key) -> int | None:
    """Return the length of a run, or None if it is that of its config.

    A method with a length of its own is searched at the same share of its length as the others.
    """
    method = spec.method(key.method)
    final = method.length or spec.length
    if key.stage == FINAL:
        return final
    length = spec.search.length if key.stage == SEARCH else spec.search.check.length
    if length and method.length and spec.length:
        return max(1, round(length * method.length / spec.length))
    return length or final


def check_together(records: Mapping[Key, Mapping[str, Any]]) -> None:
    """Refuse records of different data, or without a commit of different code, in one table.

    Raises:
        ChangedError: If two differ; it names both and what differs.
    """
    seen: dict[tuple[str, str], tuple[Any, Key]] = {}
    for run, record in records.items():
        parts = ['files', 'extra'] + ([] if record['commit'] else ['code', 'versions'])
        for part in parts:
            for key, value in (record[part] or {}).items():
                other, first = seen.setdefault((part, key), (value, run))
                if other != value:
                    raise ChangedError(
                        f'{first.name} and {run.name} are records of different {part}: {key}'
                    )


def plain(value: Any) -> Any:
    """Return a value as it comes back from a record."""
    return json.loads(json.dumps(value, default=repr))
