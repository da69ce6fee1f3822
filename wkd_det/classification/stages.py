"""Stages: a network cut at named modules, and run from any cut on a given map."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

from torch import Tensor, fx, nn

from wkd_det.classification.networks.layers import channel_shuffle
from wkd_det.distillation.recording import INPUT, module_of


class StagedNetwork:
    """Cuts of a network at modules whose outputs carry everything that comes later.

    The network is traced with ``torch.fx`` down to the modules that contain the cuts; whatever is
    inside others runs as it always does. Only names and operations are kept, so the parts run the
    modules of any network of this kind, e.g. of a copy.

    Args:
        network: A bare network. It is traced in its present mode and not run.
        cuts: Names of modules in the order in which they run; with ``:input`` at the end the
            first input of the module in place of its output.
        owner: ``'student'`` or ``'teacher'``, for messages.

    Raises:
        ValueError: If the network cannot be traced, or not be cut there.
    """

    def __init__(self, network: nn.Module, cuts: Sequence[str], owner: str) -> None:
        self.cuts = tuple(cuts)
        self.owner = owner
        self._plans: dict[bool, _Plan] = {}
        self._plan_of(network)

    def run(
        self, network: nn.Module, start: int, features: Tensor
    ) -> tuple[dict[int, Tensor], Any]:
        """Run the part of a network that comes after a cut.

        Args:
            network: One of the kind that was cut.
            start: Index of the cut.
            features: In place of the network's own value there, e.g. a map ``(N, C, H, W)``.

        Returns:
            The values at the later cuts by index, and the output of the network.
        """
        plan = self._plan_of(network)
        first = plan.cuts[start]
        values = {first: self._kept(start, features)}
        found = {}
        for node in plan.after(first):
            values[node] = plan.value(network, node, values)
            if node in plan.cuts:
                index = plan.cuts.index(node)
                found[index] = self._kept(index, values[node])
        return found, values[plan.output]

    def stage_modules(self, network: nn.Module, start: int) -> list[nn.Module]:
        """Modules that :meth:`run` calls after a cut."""
        plan = self._plan_of(network)
        nodes = plan.after(plan.cuts[start])
        return [network.get_submodule(_path(node)) for node in nodes if node.op == 'call_module']

    def __deepcopy__(self, memo: dict[int, Any]) -> StagedNetwork:
        return self  # it holds nothing of a network

    def _plan_of(self, network: nn.Module) -> _Plan:
        if network.training not in self._plans:
            try:
                self._plans[network.training] = _Plan(network, self.cuts)
            except _UncuttableError as error:
                raise ValueError(
                    f'the {self.owner} {type(network).__name__} cannot be cut into stages at '
                    f'{", ".join(self.cuts)}: {error}'
                ) from error.__cause__
        return self._plans[network.training]

    def _kept(self, cut: int, value: Tensor) -> Tensor:
        """The value at a cut, safe from layers that change their input in place."""
        return value.clone() if self.cuts[cut].endswith(INPUT) else value


class _UncuttableError(Exception):
    """Reason why a network has no such stages."""


class _Root(nn.Module):
    """A network called with images alone, so that its other arguments keep their defaults."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.training = network.training
        self.network = network

    def forward(self, images: Tensor) -> Any:
        return self.network(images)


class _Tracer(fx.Tracer):
    """Looks into the modules of some names, and takes all others as they are."""

    def __init__(self, opened: set[str]) -> None:
        super().__init__(autowrap_functions=(channel_shuffle,))
        self._opened = opened

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return name not in self._opened


class _Plan:
    """Operations of a network in one mode, and its cuts among them."""

    def __init__(self, network: nn.Module, cuts: Sequence[str]) -> None:
        parts = [f'network.{module_of(cut)}'.split('.') for cut in cuts]
        opened = {'.'.join(part[:depth]) for part in parts for depth in range(1, len(part))}
        try:
            graph = _Tracer(opened).trace(_Root(network))
        except Exception as error:  # whatever its code does with a value that is not there
            raise _UncuttableError(f'torch.fx does not trace it ({error})') from error
        *self.nodes, last = graph.nodes
        self.output = last.args[0]
        if not isinstance(self.output, fx.Node):
            raise _UncuttableError('it returns more than logits')
        self.cuts = [self._found(cut) for cut in cuts]
        for name, cut in zip(cuts, self.cuts):
            self._check_carries_all(name, cut)
        places = [self.nodes.index(cut) for cut in self.cuts]
        if places != sorted(set(places)):
            raise _UncuttableError('they do not run one after the other in this order')

    def after(self, cut: fx.Node) -> list[fx.Node]:
        """Operations after a cut."""
        return self.nodes[self.nodes.index(cut) + 1 :]

    def value(self, network: nn.Module, node: fx.Node, values: dict[fx.Node, Any]) -> Any:
        """Result of an operation, from those before it."""
        if node.op == 'get_attr':
            return attrgetter(_path(node))(network)

        def value_of(argument: fx.Node) -> Any:
            if argument.op == 'get_attr':  # may stand before the cut
                return self.value(network, argument, values)
            return values[argument]

        args, kwargs = fx.node.map_arg((node.args, node.kwargs), value_of)
        if node.op == 'call_module':
            return network.get_submodule(_path(node))(*args, **kwargs)
        if node.op == 'call_method':
            return getattr(args[0], node.target)(*args[1:], **kwargs)
        return node.target(*args, **kwargs)

    def _found(self, cut: str) -> fx.Node:
        calls = [
            node
            for node in self.nodes
            if node.op == 'call_module' and _path(node) == module_of(cut)
        ]
        if not calls:
            raise _UncuttableError(f'{module_of(cut)} does not run as a whole')
        # Of a module that runs more than once the last call counts, as in a recorded pass.
        return calls[-1].args[0] if cut.endswith(INPUT) else calls[-1]

    def _check_carries_all(self, name: str, cut: fx.Node) -> None:
        inside = {cut, *self.after(cut)}
        for node in self.after(cut):
            for source in node.all_input_nodes:
                if source not in inside and source.op != 'get_attr':
                    raise _UncuttableError(f'what comes after {name} reads earlier values as well')


def is_rectified(values: Tensor) -> bool:
    """Whether values come out of a ReLU, as their graph shows; on the meta device too.

    Layers in between that only move values or take means and maxima are looked through.
    """
    return values.grad_fn is not None and _is_rectified(values.grad_fn)


_MOVING = (
    'AdaptiveAvgPool', 'Alias', 'AvgPool', 'Cat', 'Chunk', 'Clone', 'MaxPool', 'Mean', 'Permute',
    'Reshape', 'Select', 'Slice', 'Split', 'Transpose', 'UnsafeView', 'View',
)  # fmt: skip


def _is_rectified(function: Any) -> bool:
    name = function.name()
    if name.startswith(('Relu', 'Sigmoid')):
        return True
    if name.startswith('Hardtanh'):  # ReLU6
        return function._saved_min_val >= 0
    parents = [parent for parent, _ in function.next_functions if parent is not None]
    return name.startswith(_MOVING) and bool(parents) and all(map(_is_rectified, parents))


def _path(node: fx.Node) -> str:
    """Name of a module or parameter in the network."""
    return str(node.target).removeprefix('network.')
