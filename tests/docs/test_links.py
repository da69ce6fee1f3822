"""Files, commands and options that documents name are there."""

from __future__ import annotations

import doctest
import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(
    {
        *ROOT.glob('*.md'),
        *(ROOT / 'docs').rglob('*.md'),
        *(ROOT / 'configs').rglob('*.md'),
        *(ROOT / 'studies').rglob('*.md'),
        ROOT / 'tests/README.md',
    }
)
# Folders whose paths in documents must exist; others are made by a run or by the reader.
OURS = ('wkd_det', 'configs', 'studies', 'tools', 'docs', 'tests')
# Paths that a tutorial makes, or that are MMDetection's.
MADE = re.compile(r'cosine|box-feats|boxes\.py|box_feats|tools/model_converters/')
TEXT = {path: path.read_text(encoding='utf-8') for path in DOCUMENTS}


def code_blocks(text):
    """Contents of the fenced blocks of a document that are shell commands."""
    return re.findall(r'^```(?:bash|text)\n(.*?)^```$', text, re.MULTILINE | re.DOTALL)


def commands(text):
    """Calls of our own tools: the tool and the words that follow it."""
    for block in code_blocks(text):
        for line in block.replace('\\\n', ' ').splitlines():
            found = re.search(r'(?:^|\s)(tools/\w+\.(?:py|sh))(.*)', line)
            if found and 'mmdet/' not in line:
                yield found[1], shlex.split(found[2], comments=True)


def options_of(tool):
    """Options that the argument parser of a tool, or a file that it is put together from, adds."""
    sources = [ROOT / tool]
    if tool.endswith(('train.py', 'test.py')):
        sources.append(ROOT / 'tools/mmdet_tool.py')
    if tool.endswith('benchmark.py'):
        sources += (ROOT / 'tools/benchmarks').glob('*.py')
    text = ''.join(path.read_text(encoding='utf-8') for path in sources if path.is_file())
    found = set(re.findall(r"'(--[\w-]+)'", text))
    if tool.endswith(('train.py', 'test.py')):  # those of MMDetection's own tools
        found |= MMDET_OPTIONS
    return found | {'--help'}


MMDET_OPTIONS = {
    *('--amp', '--auto-scale-lr', '--resume', '--cfg-options', '--launcher', '--work-dir'),
    *('--out', '--show', '--show-dir', '--wait-time', '--tta'),
}


def ids(path):
    return path.relative_to(ROOT).as_posix()


def anchors(text):
    """Anchors of the headings of a document, as GitHub makes them."""
    text = re.sub(r'^```.*?^```$', '', text, flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r'^#+ +(.+)$', text, re.MULTILINE)
    return {re.sub(r'[^\w\- ]', '', title.lower()).replace(' ', '-') for title in titles}


@pytest.mark.parametrize('document', DOCUMENTS, ids=ids)
def test_links_lead_to_files_and_headings(document):
    wrong = []
    for target in re.findall(r'\]\(([^)\s]+)\)', TEXT[document]):
        path, _, anchor = target.partition('#')
        if '://' in target:
            continue
        file = (document.parent / path).resolve() if path else document
        if (
            not file.exists()
            or anchor
            and file.suffix == '.md'
            and anchor not in anchors(file.read_text('utf-8'))
        ):
            wrong.append(target)
    assert not wrong


@pytest.mark.parametrize('document', DOCUMENTS, ids=ids)
def test_paths_are_there(document):
    """Paths in code type or in commands that begin with a folder of the repository."""
    pattern = rf'(?<![\w/.-])((?:{"|".join(OURS)})/[\w./-]*[\w/])'
    found = set(re.findall(pattern, re.sub(r'\]\([^)]*\)', '', TEXT[document])))
    wrong = {
        path
        for path in found
        if not (ROOT / path).exists()
        and not list(ROOT.glob(f'{path}*'))  # a name that goes on in the next line or in capitals
        and not MADE.search(path)
    }
    assert not wrong


@pytest.mark.parametrize('document', DOCUMENTS, ids=ids)
def test_options_are_there(document):
    wrong = []
    for tool, words in commands(TEXT[document]):
        if not (ROOT / tool).is_file():
            wrong.append(tool)
        elif tool.endswith('.py'):
            given = {word.partition('=')[0] for word in words if word.startswith('--')}
            wrong += [f'{tool} {option}' for option in sorted(given - options_of(tool))]
    assert not wrong


@pytest.mark.parametrize('document', DOCUMENTS, ids=ids)
def test_make_has_the_targets(document):
    makefile = (ROOT / 'Makefile').read_text(encoding='utf-8')
    names = re.findall(r'(?:^|`)make (?:-s )?(\w+)', TEXT[document], re.MULTILINE)
    assert all(re.search(rf'^{name}:', makefile, re.MULTILINE) for name in names)


def test_the_readme_is_short_and_shows_what_was_not_run():
    text = TEXT[ROOT / 'README.md']
    assert 'nobody has trained the COCO and ImageNet configs' in text
    assert 'withdrawn' in text


def test_the_examples_of_the_readme_print_what_they_say():
    result = doctest.testfile(str(ROOT / 'README.md'), module_relative=False)
    assert result.attempted > 0
    assert result.failed == 0
