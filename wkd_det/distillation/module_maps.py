"""Maps of modules: outputs of named modules of one network, with what probing knows of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from wkd_det.distillation.layouts import hints_of, layout_of
from wkd_det.distillation.view import View


def empty_copies(
    student: nn.Module, teacher: Mapping[str, Any] | None
) -> tuple[nn.Module, nn.Module | None]:
    """Both networks on the meta device, where nothing is computed.

    Args:
        student: The distilled model.
        teacher: Model config of the teacher; None without one.
    """
    return student.empty_copy(), None if teacher is None else student.empty_copy(teacher)


class ModuleMaps:
    """Outputs of modules of one network as maps ``(N, C, H, W)``.

    Args:
        model: The distilled model, which probes networks of its task.
        owner: ``'student'`` or ``'teacher'``, for messages.
        network: The network, on the meta device.
        names: Modules that it has; with ``:input`` what they are given.
        widths: Channels of each, for modules that are not reached when the network is probed;
            None where they are to be found out.

    Raises:
        ValueError: If a width stays unknown, or an output is no map, tokens or vector.
    """

    def __init__(
        self,
        model: nn.Module,
        owner: str,
        network: nn.Module,
        names: Sequence[str],
        widths: Sequence[int | None] | None = None,
    ) -> None:
        self.names = tuple(names)
        self._hints = hints_of(network)
        shapes = model.probe(network, self.names)
        self._layouts = [
            layout_of(name, shapes[name], self._hints) if name in shapes else None
            for name in self.names
        ]
        self.channels: list[int] = []
        for name, layout, known in zip(
            self.names, self._layouts, widths or [None] * len(self.names)
        ):
            if layout is None and known is None:
                raise ValueError(
                    f'the module {name!r} of the {owner} is not reached by an empty image, so '
                    'its width is unknown: set widths=(student, teacher)'
                )
            self.channels.append(known if layout is None else layout.channels)

    @property
    def sizes(self) -> list[tuple[int, int] | None]:
        """Height and width of each map; None for modules that were not reached."""
        return [layout and (layout.height, layout.width) for layout in self._layouts]

    @property
    def of_tokens(self) -> list[bool]:
        """Whether each map is made of tokens or has channels last, as those of Transformers."""
        return [one is not None and one.kind in ('tokens', 'NHWC') for one in self._layouts]

    def read(self, view: View) -> list[Tensor]:
        """The maps of a batch, each ``(N, C, H, W)``."""
        maps = []
        for name, layout in zip(self.names, self._layouts):
            output = view.output(name)
            if layout is None:  # its width was given, its shape shows now
                layout = layout_of(name, tuple(output.shape), self._hints)
            maps.append(layout.to_map(output))
        return maps
