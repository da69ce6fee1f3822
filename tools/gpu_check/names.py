"""Names of what is compared, and a look into nested results that may be incomplete."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PLAIN = 'plain student'
KD, WKD_L, WKD_F, BOTH = 'KD', 'WKD-L', 'WKD-F', 'WKD-L + WKD-F'
AS_IT_IS = 'as it is'


def found_in(results: Mapping[str, Any], *place: str) -> Mapping[str, Any]:
    """Return the results at a place, empty where there are none.

    A part's own results are below its key ``found``, which the place leaves out.

    >>> found_in(dict(losses=dict(found=dict(KD=dict(seconds=1.0)))), 'losses', 'KD')
    {'seconds': 1.0}
    >>> found_in({}, 'losses', 'KD')
    {}
    """
    for key in place:
        below = results.get('found', results) if key not in results else results
        value = below.get(key)
        results = value if isinstance(value, Mapping) else {}
    return results
