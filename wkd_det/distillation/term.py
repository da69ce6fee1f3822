"""Where a distillation term reads student and teacher."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mmdet.registry import MODELS
from torch import Tensor, nn

from wkd_det.distillation.tap import TAPS, Tap
from wkd_det.distillation.teacher import Teacher
from wkd_det.runtime.config import build_strict, check_keys, keyword_names


def find_tap(section: str, name: Any) -> Callable[..., Tap]:
    """What makes the tap that a term names; its keyword arguments are options of the term.

    A student whose taps have other names than the registered ones has a method of this name.

    Args:
        section: Where the term stands in the config.
        name: What it names.

    Raises:
        KeyError: With the valid names.
    """
    found = TAPS.get(name) if isinstance(name, str) else None
    if found is None:
        raise KeyError(f'{section}.tap must be one of {sorted(TAPS.module_dict)}, got {name!r}')
    return found


class Term(nn.Module):
    """Tap, connectors and loss.

    A loss may name in ``scalable`` those of its arguments that weigh a part of it; ``set_scale``
    scales the whole term or such a part.

    Args:
        name: Key of the loss in the log; starts with ``loss_``.
        tap: Reads both networks.
        connectors: Student width and size to the teacher's, one for each of the tap's widths, or
            one for all of them together. A plain tuple if they belong to another term, which
            saves and trains them.
        loss: Takes what the tap yields; returns a scalar, its weight included.
    """

    def __init__(
        self,
        name: str,
        tap: Tap,
        connectors: nn.ModuleList | tuple[nn.Module, ...],
        loss: nn.Module,
    ) -> None:
        super().__init__()
        self.name = name
        self.tap = tap
        self.connectors = connectors
        self.loss = loss
        self.scale = 1.0
        self.full_weights = {part: getattr(loss, part) for part in getattr(loss, 'scalable', ())}
        """Arguments of the loss that weigh a part of it, as configured."""

    def set_scale(self, scale: float, part: str | None = None) -> None:
        """Scale the configured weight, of the whole term or of one of ``full_weights``."""
        if part is None:
            self.scale = scale
        else:
            setattr(self.loss, part, scale * self.full_weights[part])

    def attach(self, student: nn.Module, teacher: Teacher) -> None:
        """Check that tap and networks fit, and prepare a loss that learns from the teacher.

        Raises:
            ValueError: If they do not fit.
        """
        self.tap.check(student, teacher.module, self.connectors)
        self.tap.class_order = teacher.class_order
        if hasattr(self.loss, 'prepare'):
            self.loss.prepare(self.tap, teacher)

    def pairs(self, student: Any, teacher: Any) -> list[dict[str, Tensor]]:
        """What the loss compares: its arguments, one dict a comparison."""
        pairs = self.tap.pairs(student, teacher, self.connectors)
        order = self.tap.class_order
        if order is not None and self.tap.yields == 'logits':
            pairs = [dict(pair, teacher=order.logits(pair['teacher'])) for pair in pairs]
        return pairs

    def forward(self, pairs: list[dict[str, Tensor]]) -> Tensor:
        """Mean of the loss over the comparisons, or their sum with the tap's weights; scalar.

        Times the scale of the term.
        """
        values = [self.loss(**pair) for pair in pairs]
        weights = self.tap.weights or [1 / len(values)] * len(values)
        total = sum(weight * value for weight, value in zip(weights, values))
        # An empty comparison bypasses a connector; DDP still wants its gradient, which is 0.
        return self.scale * total + self.zero()

    def zero(self) -> Tensor | float:
        """0 with a zero gradient for every parameter of the term."""
        return sum((0.0 * parameter.sum() for parameter in self.parameters()), 0.0)


def build_terms(
    config: Mapping[str, Any], student: nn.Module, teacher_config: Mapping[str, Any]
) -> dict[str, Term]:
    """Build the terms of a section ``distill``, those that borrow a connector last.

    Args:
        config: Sections of terms by name.
        student: The network that is trained; its widths are read.
        teacher_config: Model config of the teacher; its widths are read.

    Raises:
        TypeError, KeyError, ValueError: With the place in the config and what is valid there.
    """
    terms: dict[str, Term] = {}
    for name in sorted(config, key=lambda name: _borrows(config[name])):  # a stable sort
        terms[name] = build_term(name, config[name], student, teacher_config, terms)
    return {name: terms[name] for name in config}


def build_term(
    name: str,
    config: Mapping[str, Any],
    student: nn.Module,
    teacher_config: Mapping[str, Any],
    lenders: Mapping[str, Term],
) -> Term:
    """Build a term from its section of ``distill``.

    Args:
        name: Key of the section.
        config: ``tap``, ``loss``, optionally ``connector`` (a config, or the name of the term
            whose connectors are shared), and the options of the tap.
        student: The network that is trained; its widths are read.
        teacher_config: Model config of the teacher; its widths are read.
        lenders: Terms whose connectors may be shared.

    Raises:
        TypeError, KeyError, ValueError: With the place in the config and what is valid there.
    """
    section = f'distill.{name}'
    if not name.startswith('loss_'):
        raise ValueError(f"names under distill must start with 'loss_' to be summed, got {name!r}")
    if not isinstance(config, Mapping):
        raise TypeError(f'{section} must be a dict, got {config!r}')
    tap_name = config.get('tap')
    tap_class = getattr(student, 'find_tap', find_tap)(section, tap_name)
    options = keyword_names(tap_class)
    check_keys(section, config, ['tap', 'loss', 'connector', *options])
    tap = tap_class(**{key: config[key] for key in options if key in config})
    if 'loss' not in config:
        raise KeyError(f'{section}.loss is missing')
    loss = build_strict(
        f'{section}.loss',
        config['loss'],
        MODELS,
        _losses(tap.yields),
        **tap.loss_arguments(student, teacher_config),
    )
    takes = getattr(loss, 'takes', tap.yields)
    if takes != tap.yields:
        raise ValueError(
            f'{section}: the tap {tap_name!r} yields {tap.yields}, '
            f'but {type(loss).__name__} takes {takes}'
        )
    if tap.num_classes(student) is not None and hasattr(loss, 'reserve'):
        loss.reserve(tap.num_classes(student))
    widths = tap.widths(student, teacher_config)
    connectors = (
        _borrow_connectors(section, config['connector'], tap, len(widths), lenders)
        if _borrows(config)
        else _build_connectors(section, config.get('connector'), widths, tap.joins_levels)
    )
    return Term(name, tap, connectors, loss)


def _borrows(config: Any) -> bool:
    return isinstance(config, Mapping) and isinstance(config.get('connector'), str)


def _borrow_connectors(
    section: str, lender: str, tap: Tap, count: int, lenders: Mapping[str, Term]
) -> tuple[nn.Module, ...]:
    """The connectors that another term has for the levels of the pyramid.

    Both terms bring the same level from the same network to the other one, so widths agree.
    """
    own = {name for name, term in lenders.items() if isinstance(term.connectors, nn.ModuleList)}
    if lender not in own:
        raise KeyError(
            f'{section}.connector must be a config or the name of a term with connectors of its '
            f'own, one of {sorted(own)}, got {lender!r}'
        )
    term = lenders[lender]
    if term.tap.projects != tap.projects:
        raise ValueError(
            f"{section} projects the {tap.projects}'s maps, but the connectors of "
            f"distill.{lender} the {term.tap.projects}'s"
        )
    try:
        return tuple(term.tap.connector_of(level, term.connectors) for level in range(count))
    except ValueError as error:
        raise ValueError(f'{section}.connector: distill.{lender}: {error}') from None


def _build_connectors(
    section: str,
    config: Mapping[str, Any] | None,
    widths: list[tuple[int, int]],
    joins_levels: bool,
) -> nn.ModuleList:
    if config is not None and not widths:
        raise ValueError(f'{section}.connector is set, but the tap compares no feature maps')
    kind = config.get('type') if isinstance(config, Mapping) else None
    if getattr(MODELS.get(kind) if isinstance(kind, str) else kind, 'spans_levels', False):
        if not joins_levels:
            raise ValueError(
                f'{section}.connector: {kind} works on all levels of a map tap at once'
            )
        widths = [tuple(zip(*widths))]
    connectors = nn.ModuleList()
    for student_channels, teacher_channels in widths:
        if config is None and student_channels != teacher_channels:
            raise ValueError(
                f'{section} needs a connector: the student has {student_channels} channels '
                f'there, the teacher {teacher_channels}'
            )
        connectors.append(
            build_strict(
                f'{section}.connector',
                config or dict(type='IdentityConnector'),
                MODELS,
                [key for key in MODELS.module_dict if key.endswith('Connector')],
                student_channels=student_channels,
                teacher_channels=teacher_channels,
            )
        )
    return connectors


def _losses(takes: str) -> list[str]:
    return [
        name for name, cls in MODELS.module_dict.items() if getattr(cls, 'takes', None) == takes
    ]
