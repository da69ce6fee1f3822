"""Plain English: docstrings that say what is returned, done or raised, and words that are clear."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(path for folder in ('wkd_det', 'tools') for path in (ROOT / folder).rglob('*.py'))
UNITS = (
    'batch|box|cell|channel|class|column|coordinate|file|group|head|image|iteration|level|line|'
    'loss|map|module|octave|pair|parameter|pixel|process|proposal|RoI|round|row|sample|scale|'
    'stage|step|term|weight'
)
WORDS = {
    r'\bshall\b': 'should, must or will',
    r'\bbeside\b': 'next to, in addition to, with or besides',
    rf'\bone an? (?:{UNITS})\b': 'one per ...',
    r'\bnot tell (?:how|what|whether|which|where)\b': 'not say, not show or not know',
    r'\btold by\b': 'set by or known from',
}
"""Habits that have no good use here, and what to write instead."""


def docstrings(tree):
    """Line and text of the docstrings, also of those below a name that they describe."""
    for node in ast.walk(tree):
        body = getattr(node, 'body', None)
        for statement in body if isinstance(body, list) else ():
            if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                text = statement.value.value
                if isinstance(text, str):
                    yield statement.lineno, text


def texts(source):
    """Line and text of every comment and of every string that has words in it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and ' ' in node.value:
            for offset, line in enumerate(node.value.splitlines()):
                yield node.lineno + offset, line
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def offenders(find):
    """``file:line: text`` for all that ``find`` yields for the source of a file."""
    return [
        f'{path.relative_to(ROOT)}:{line}: {" ".join(text.split())[:80]}'
        for path in FILES
        for line, text in find(path.read_text(encoding='utf-8'))
    ]


def fragments(source):
    """Docstrings that begin with "What" or "Of"."""
    for line, text in docstrings(ast.parse(source)):
        if re.match(r'\s*(?:What|Of)\b', text):
            yield line, text


def fragments_of_arguments(source):
    """Descriptions of arguments that begin with "What" or "Of"."""
    for line, text in docstrings(ast.parse(source)):
        for offset, part in enumerate(text.splitlines()):
            if re.match(r'\s+\*{0,2}\w+: (?:What|Of)\b', part):
                yield line + offset, part


def test_the_reader_sees_docstrings_of_all_kinds():
    source = (
        '"""What a module is."""\nNAME = 1\n"""Of a name."""\n\n\nclass One:\n    """What it is.\n'
        '\n    Args:\n        first: Of it.\n        second: Offset.\n    """\n    name: int\n'
        '    """Offset."""\n\n    def __init__(self):\n        """Of a method."""\n'
    )
    assert [line for line, _ in fragments(source)] == [1, 3, 7, 17]
    assert [part.strip() for _, part in fragments_of_arguments(source)] == ['first: Of it.']
    spoken = 'value = 1  # one a sample\nraise ValueError(f"it {value} shall be")\n'
    assert {text for _, text in texts(spoken)} == {'# one a sample', 'it ', ' shall be'}


def test_no_docstring_begins_with_what_or_of():
    assert offenders(fragments) == []


def test_no_argument_is_described_by_a_fragment():
    assert offenders(fragments_of_arguments) == []


@pytest.mark.parametrize('pattern', WORDS, ids=WORDS.values())
def test_words(pattern):
    def find(source):
        return ((line, text) for line, text in texts(source) if re.search(pattern, text))

    assert offenders(find) == []
