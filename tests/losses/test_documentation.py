"""docs/losses.md names every registered loss and every option of it."""

import re
from pathlib import Path

import pytest

from wkd_det import losses, registry
from wkd_det.functional import FEATURE_DISTANCES
from wkd_det.hooks.term_schedule import TermScheduleHook
from wkd_det.runtime.config import keyword_names

TEXT = (Path(__file__).parents[2] / 'docs/losses.md').read_text(encoding='utf-8')


@pytest.mark.parametrize('name', registry.LOSSES)
def test_loss_and_its_options(name):
    rows = [line for line in TEXT.splitlines() if line.startswith(f'| `{name}` |')]
    assert len(rows) == 1
    named = re.findall(r'`(\w+)`', rows[0].rpartition(' | ')[2])
    assert sorted(named) == sorted(keyword_names(getattr(losses, name)))


@pytest.mark.parametrize(('distribution', 'distance'), FEATURE_DISTANCES)
def test_members_of_the_family(distribution, distance):
    table = TEXT.partition('### The family of WKD-F')[2].partition('```')[0]
    assert f'`{distribution}`' in table
    assert f'`{distance}`' in table


def test_parts_that_can_be_scheduled():
    for name in registry.LOSSES:
        for part in getattr(getattr(losses, name), 'scalable', ()):
            assert re.search(rf'`{part}`[^,]* of `{name}`', TEXT), (name, part)


@pytest.mark.parametrize('option', keyword_names(TermScheduleHook))
def test_options_of_the_schedule(option):
    assert re.search(rf'\b{option}\b', TEXT.partition('## Schedules')[2])
