import pytest

from commands import ROOT
from specs import result


@pytest.fixture(autouse=True)
def _at_the_root(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.fixture
def results():
    return dict(
        plain={1: result(0.2, memory=100.0), 2: result(0.4, memory=104.0)},
        wkd={1: result(0.3, seconds=0.75, memory=150.0), 2: result(0.5, memory=170.0)},
    )
