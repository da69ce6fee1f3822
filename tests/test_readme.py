"""The table of tests/README.md names files and tests that are there."""

import re
from pathlib import Path

FOLDER = Path(__file__).parent
ROWS = [
    line
    for line in (FOLDER / 'README.md').read_text().splitlines()
    if line.startswith('| ') and '---' not in line
][1:]


def test_every_complaint_has_tests_that_exist():
    assert len(ROWS) >= 15
    for row in ROWS:
        found = re.findall(r'\[(\S+?)\]\((\S+?)\): ((?:`\w+`(?:, )?)+)', row)
        assert found, row
        for name, path, tests in found:
            assert path.split('/')[-1] == name
            text = (FOLDER / path).read_text()
            for test in re.findall(r'`(\w+)`', tests):
                assert re.search(rf'^def {test}\(', text, re.MULTILINE), f'{path}: {test}'
