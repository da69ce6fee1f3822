"""All methods and pairs: found by name, listed, and written as a config."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from config_catalogue.entries import Method, Pair
from config_catalogue.headers import ConfigError
from config_catalogue.text import config_text

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
COMMAND = 'python tools/new_config.py'


class Catalogue:
    """All methods and pairs of a folder of configs."""

    def __init__(self, configs: Path = CONFIGS) -> None:
        self.configs = configs
        self.root = configs.parent
        found = (Method.of(path) for path in sorted((configs / '_base_/distill').rglob('*.py')))
        self.methods = [method for method in found if method]
        self.pairs = [Pair.of(path) for path in sorted((configs / '_base_/pairs').glob('*.py'))]

    def methods_for(self, pair: Pair) -> list[Method]:
        """Those whose header has the pair's kind."""
        return [method for method in self.methods if pair.kind in method.kinds]

    def find(self, method: str, pair: str, schedule: str | None) -> tuple[Method, Pair]:
        """A method and a pair by their names.

        Args:
            method: Its whole name.
            pair: Its whole name, or the end of it after a ``_`` where no other pair ends so.
            schedule: May be None where the pair has one alone.

        Raises:
            ConfigError: If a name is unknown, with the near ones, or the method is not for the
                pair.
        """
        names = {one.name for one in self.methods}
        if method not in names:
            raise ConfigError(f'--method must name a method, {_near(method, names)}')
        chosen = self._pair(pair, schedule)
        for one in self.methods_for(chosen):
            if one.name == method:
                return one, chosen
        valid = ', '.join(one.name for one in self.methods_for(chosen))
        raise ConfigError(
            f'--method {method} is not for a {chosen.kind} pair: {chosen.name} takes {valid}'
        )

    def _pair(self, name: str, schedule: str | None) -> Pair:
        names = dict.fromkeys(pair.name for pair in self.pairs)
        whole = [one for one in names if one.partition('_')[2] == name]
        if name in names:
            whole = [name]
        if not whole:
            ends = [end for one in names for end in (one, one.partition('_')[2]) if end]
            raise ConfigError(f'--pair must name a pair, {_near(name, ends)}')
        if len(whole) > 1:
            raise ConfigError(f'--pair {name} may be any of {", ".join(whole)}')
        schedules = {pair.schedule: pair for pair in self.pairs if pair.name == whole[0]}
        if schedule is None and len(schedules) == 1:
            return next(iter(schedules.values()))
        if schedule is None:
            raise ConfigError(f'--schedule is needed: {whole[0]} has {" and ".join(schedules)}')
        if schedule not in schedules:
            raise ConfigError(f'--schedule must be one of {whole[0]}, {_near(schedule, schedules)}')
        return schedules[schedule]

    def place(self, method: Method, pair: Pair) -> Path:
        """Where a config belongs, if nothing else is asked for."""
        return self.root / pair.place.replace('METHOD', method.name)

    def write(self, method: Method, pair: Pair, out: Path | None, *, force: bool = False) -> Path:
        """Write a config and return where it is.

        Args:
            method: Method of distillation.
            pair: Pair of networks and schedule.
            out: A file or a folder that is there; None: where it belongs.
            force: Whether a file that is there may be overwritten.

        Raises:
            ConfigError: If the file is there, or is not named like a config.
        """
        place = self.place(method, pair)
        path = place if out is None else out / place.name if out.is_dir() else out
        if path.suffix != '.py':
            raise ConfigError(f'--out must end in .py or be a folder that is there, got {path}')
        if path.exists() and not force:
            raise ConfigError(f'{path} is there already: --force overwrites it')
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(config_text(method, pair, path, root=self.root))
        except OSError as error:
            raise ConfigError(f'cannot write {path}: {error.strerror}') from error
        return path

    def listing(self) -> str:
        """All methods and pairs, for people."""
        kinds = dict.fromkeys(pair.kind for pair in self.pairs)
        lines = []
        for kind in kinds:
            pairs: dict[str, list[Pair]] = {}
            for pair in self.pairs:
                if pair.kind == kind:
                    pairs.setdefault(pair.name, []).append(pair)
            methods = [method for method in self.methods if kind in method.kinds]
            width = max(len(name) for name in [*pairs, *(method.name for method in methods)])
            lines += [f'{kind}: --pair, --schedule']
            lines += [
                f'  {name:{width}}  {", ".join(pair.schedule for pair in group)}'
                for name, group in pairs.items()
            ]
            lines += [f'{kind}: --method']
            lines += [f'  {method.name:{width}}  {method.text}' for method in methods] + ['']
        return '\n'.join(lines).rstrip()


def _near(word: str, valid: Iterable[str]) -> str:
    from wkd_det.runtime.config import near_matches  # slow, and needed for mistakes alone

    return near_matches(word, list(dict.fromkeys(valid)))
