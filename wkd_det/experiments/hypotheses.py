"""Verdicts on the hypotheses of a study: each a paired comparison, all corrected together."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from wkd_det.experiments.spec import Hypothesis
from wkd_det.experiments.spec_reader import read_spec
from wkd_det.experiments.statistics import (
    ALPHA,
    Difference,
    holm,
    p_value,
    paired_difference,
    paired_gaps,
)
from wkd_det.experiments.study import Results, Study, values_of

SUPPORTED, REFUTED, OPEN, INCOMPLETE = 'supported', 'refuted', 'not supported', 'incomplete'


@dataclass(frozen=True)
class Verdict:
    """One hypothesis and what became of it."""

    claim: Hypothesis
    rival: str | None
    """Title of the rival; None as long as the search that chooses it is not complete."""
    title: str
    """Title of the method."""
    difference: Difference | None
    """Method minus rival, in the unit of the metric."""
    planned: int
    """Seeds that both are to have."""
    p: float
    """NaN as long as seeds are missing."""
    adjusted: float
    """After Holm's correction over all hypotheses of the spec; a missing p counts as 1."""
    outcome: str


def verdicts(study: Study, results: Results) -> list[Verdict]:
    """Return the verdicts on all hypotheses of a spec, in its order.

    A hypothesis is *supported* if its adjusted p-value is below 0.05, *refuted* if the 95 %
    interval of the difference lies on the wrong side of the margin as a whole, *incomplete* as
    long as a seed is missing, and else *not supported*.

    Args:
        study: The study.
        results: Those of :meth:`~wkd_det.experiments.study.Study.results`.
    """
    compared = [_compared(study, results, claim) for claim in study.spec.hypotheses]
    if not compared:
        return []
    adjusted = holm([1.0 if math.isnan(one.p) else one.p for one in compared])
    return [
        replace(one, adjusted=value, outcome=_outcome(one, value))
        for one, value in zip(compared, adjusted)
    ]


def best_rival(study: Study, names: tuple[str, ...]) -> str | None:
    """Return the method with the best score in the search, or None if one is not known yet.

    Of one name it is that. Of equal scores the first one is taken.
    """
    if len(names) == 1:
        return names[0]
    scores: Mapping[str, float] = {
        name: study.choice(study.spec.method(name)).score for name in names
    }
    if any(math.isnan(score) for score in scores.values()):
        return None
    return max(scores, key=scores.__getitem__)


def _compared(study: Study, results: Results, claim: Hypothesis) -> Verdict:
    """Return a verdict without its correction."""
    if claim.study is not None:
        study = Study(read_spec(claim.study))
        results = study.results()
    method = study.spec.method(claim.method)
    rival = best_rival(study, claim.over)
    if rival is None:
        return Verdict(claim, None, method.title, None, 0, math.nan, 1.0, INCOMPLETE)
    other = study.spec.method(rival)
    planned = len(set(method.seeds) & set(other.seeds))
    own, theirs = (values_of(results, name, claim.column.key) for name in (claim.method, rival))
    gaps = paired_gaps(own, theirs) * (1 if claim.column.higher else -1)
    p = p_value(gaps, claim.margin) if len(gaps) == planned > 1 else math.nan
    difference = paired_difference(own, theirs)
    return Verdict(claim, other.title, method.title, difference, planned, p, 1.0, INCOMPLETE)


def _outcome(verdict: Verdict, adjusted: float) -> str:
    if math.isnan(verdict.p):
        return INCOMPLETE
    if adjusted < ALPHA:
        return SUPPORTED
    claim, difference = verdict.claim, verdict.difference
    best = difference.high if claim.column.higher else -difference.low
    return REFUTED if best < -claim.margin else OPEN
