"""Text of a config: its header, its bases, and what it takes from them."""

from __future__ import annotations

import os
import shlex
import textwrap
from pathlib import Path

from config_catalogue.entries import Method, Pair
from config_catalogue.headers import assigns, with_bases

WIDTH = 100


def config_text(method: Method, pair: Pair, out: Path, *, root: Path) -> str:
    """A config, whose bases are found from ``out``.

    Args:
        method: Method of distillation.
        pair: Pair of networks and schedule.
        out: Where it is going to be.
        root: Root of the checkout, from which its command names it.
    """
    whole, root = out.resolve(), root.resolve()
    shown = whole.relative_to(root) if whole.is_relative_to(root) else whole
    shown = shlex.quote(shown.as_posix())
    command = pair.command.replace(pair.place, shown)
    if len(command) + len('# Command:  ') > WIDTH:
        command = command.replace(f' {shown}', f' \\\n#     {shown}', 1)
    first, second = (
        repr(Path(os.path.relpath(path.resolve(), whole.parent)).as_posix())
        for path in (pair.path, method.base_for(pair))
    )
    line = f'_base_ = [{first}, {second}]'
    if len(line) > WIDTH:
        line = f'_base_ = [\n    {first},\n    {second},\n]'
    lines = ['', *_model(method, pair), '']
    if _sets(method, pair, 'train_dataset'):
        lines[-1:] = ["train_dataloader = dict(dataset=_base_.pop('train_dataset'))", '']
    return '\n'.join(
        [
            *_filled(f'{method.title}, {pair.title}.', '# ', '# '),
            '#',
            *_field('Method', method.text),
            *_field('Pair', pair.networks),
            *_field('Needs', pair.needs_of(method)),
            f'# Command:  {command}',
            '# Expected: not yet run',
            line,
            *lines,
        ]
    )


def _model(method: Method, pair: Pair) -> list[str]:
    distill = "_base_.pop('distill')"
    if pair.has_settings:
        *others, last = method.settings
        for one in others:
            distill += f" | _base_.settings.get('{one}', {{}})"
        distill += f" | _base_.pop('settings').get('{last}', {{}})"
    line = f'model = dict(distill={distill})'
    if not _sets(method, pair, 'student') and len(line) <= WIDTH:
        return [line]
    lines = [f'    distill={distill},']
    if len(lines[0]) > WIDTH:
        lines = ['    distill=' + distill.replace(' | ', '\n    | ') + ',']
    if _sets(method, pair, 'student'):
        lines.append("    **_base_.pop('student'),")
    return ['model = dict(', *lines, ')']


def _sets(method: Method, pair: Pair, key: str) -> bool:
    return any(assigns(path, key) for path in with_bases(method.base_for(pair)))


def _filled(text: str, first: str, rest: str) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _field(name: str, text: str) -> list[str]:
    return _filled(text, f'# {name + ":":9} ', '#           ')
