"""Memory of terms: what autograd keeps of each for the backward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from wkd_det.distillation.distiller import Distiller
from wkd_det.distillation.recording import replaced


class KeptMemory:
    """Bytes that are kept from the forward pass for the backward pass, student and terms apart.

    Convention:
        - Counted are the storages of the tensors that autograd saves, each once: for the student
          if its own pass saves them, else for the first term that does.
        - Outputs of the teacher count where a term keeps them. Weights and what is freed within
          the forward pass do not count, nor does what the backward pass allocates.

    Attributes:
        student: Bytes that the plain student's pass keeps.
        terms: Bytes that each term keeps, by its name.
    """

    def __init__(self, model: nn.Module) -> None:
        self._known = {_key(one) for one in (*model.parameters(), *model.buffers())}
        self._alive: list[Tensor] = []  # so that no storage takes the address of another
        self.student = 0
        self.terms: dict[str, int] = {}

    @contextmanager
    def counting(self, distiller: Distiller | None) -> Iterator[None]:
        """A block in which the model's losses are computed."""
        with ExitStack() as stack:
            for name, term in ({} if distiller is None else distiller.terms).items():
                self.terms[name] = 0
                for part in ('read', 'forward'):
                    inside = self._inside(name, getattr(term, part))
                    stack.enter_context(replaced(term, part, inside))
            stack.enter_context(saved_tensors_hooks(self._noting(None), _as_it_is))
            yield
        self._alive.clear()

    def _inside(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            with saved_tensors_hooks(self._noting(name), _as_it_is):
                return call(*args, **kwargs)

        return counted

    def _noting(self, term: str | None) -> Callable[[Tensor], Tensor]:
        def note(saved: Tensor) -> Tensor:
            key = _key(saved)
            kept = saved.detach()  # not itself: an output would hold its own graph
            if key not in self._known:
                self._known.add(key)
                self._alive.append(kept)
                size = saved.untyped_storage().nbytes()
                if term is None:
                    self.student += size
                else:
                    self.terms[term] += size
            return kept

        return note


def _key(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _as_it_is(kept: Tensor) -> Tensor:
    return kept
