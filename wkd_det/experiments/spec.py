"""Spec of a study: its methods, seeds, search, hypotheses and what must be there first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Stage:
    """One coordinate of a search: config keys that are scaled together, and start factors."""

    keys: tuple[str, ...]
    factors: tuple[float, ...]


@dataclass(frozen=True)
class Method:
    """One method of a study: a line of its table."""

    name: str
    config: str
    title: str
    overrides: Mapping[str, Any]
    stages: tuple[Stage, ...]
    """Stages of its search in their order, those of another method included; none without one."""
    like: str
    """Method whose chosen factors are used: its own name, if it has a search of its own."""
    seeds: tuple[int, ...]
    length: int | None
    """Length of its final runs."""


@dataclass(frozen=True)
class Check:
    """A check of the ranking: the best points of each method, trained at another length.

    So are the neighbours of the best one in the last stage, until it lies between them.
    """

    length: int | None
    factors: int


@dataclass(frozen=True)
class Search:
    """A search over factors, with the same budget for every method."""

    seeds: tuple[int, ...]
    length: int | None
    overrides: Mapping[str, Any]
    widen: int
    """Extra points a side at most, where the best lies at the edge of the grid."""
    check: Check | None
    of: Spec | None
    """Another study whose chosen factors are used; then there is nothing else to search."""


@dataclass(frozen=True)
class Preparation:
    """A step that comes first: a command, or a training such as the teacher's."""

    name: str
    command: tuple[str, ...]
    makes: str | None
    needs: tuple[str, ...]
    """Files that ``makes`` must not be older than."""
    config: str | None
    work_dir: str | None
    keep: str | None
    """File in which the trained weights are kept for everybody."""
    overrides: Mapping[str, Any]


@dataclass(frozen=True)
class Column:
    """A result of the validation as a column of the table."""

    key: str
    title: str
    higher: bool
    """Whether a higher value is better."""
    digits: int


@dataclass(frozen=True)
class Hypothesis:
    """A claim that one method is better than another, by more than ``-margin``."""

    name: str
    title: str
    method: str
    over: tuple[str, ...]
    """The rival; of several the one with the best score in the search."""
    column: Column
    margin: float
    study: Path | None
    """Spec of another study, whose runs are compared; None: this one."""


@dataclass(frozen=True)
class Spec:
    """A study."""

    path: Path
    title: str
    commits: tuple[str, ...]
    """Commits whose records count; what is trained is of the first."""
    records: Path
    work_dir: Path
    column: Column
    """The result that counts; higher is better."""
    columns: tuple[Column, ...]
    """Further results."""
    seeds: tuple[int, ...]
    length: int | None
    overrides: Mapping[str, Any]
    prepare: tuple[Preparation, ...]
    references: tuple[str, ...]
    methods: tuple[Method, ...]
    search: Search | None
    hypotheses: tuple[Hypothesis, ...]
    lengths: tuple[Path, ...]
    """Specs of studies of other lengths, drawn together with this one."""
    processes: int

    @property
    def name(self) -> str:
        """Name of the spec file, which names the study in its records."""
        return self.path.stem

    @property
    def commit(self) -> str | None:
        """Commit of what is trained, if the study names one."""
        return self.commits[0] if self.commits else None

    @property
    def metric(self) -> str:
        """Key of the result that counts."""
        return self.column.key

    def method(self, name: str) -> Method:
        """Return a method by its name."""
        return next(method for method in self.methods if method.name == name)

    def exploratory(self, name: str) -> bool:
        """Whether there are hypotheses, and none of them compares this method."""
        named = {one for claim in self.hypotheses for one in (claim.method, *claim.over)}
        return bool(named) and name not in named
