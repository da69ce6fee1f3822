"""Checkpoints from which a resumed run goes on exactly, written so that a kill spoils none."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine.dist import all_gather_object, get_rank, get_world_size, is_main_process
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook
from mmengine.logging import print_log
from torch import nn
from torch.utils.data import DataLoader

from wkd_det.hooks.worker_states import WorkerStates
from wkd_det.runtime.files import write_whole
from wkd_det.runtime.state import random_state, set_random_state, unwrapped, unwrapped_key


@register_backend('atomic_local')
class AtomicLocalBackend(LocalBackend):
    """mmengine's local backend, except that a write never leaves half a file.

    The bytes go to ``.<name>.partial`` next to the file, which then takes its name. The previous
    file stays readable until that moment; a partial file that a kill has left is overwritten by
    the next write of the same name.
    """

    def put(self, obj: bytes, filepath: str | Path) -> None:
        write_whole(filepath, obj)

    def put_text(self, obj: str, filepath: str | Path, encoding: str = 'utf-8') -> None:
        self.put(obj.encode(encoding), filepath)


_LOCAL = AtomicLocalBackend()
_KEY = 'random_states'


class ExactCheckpointHook(CheckpointHook):
    """mmengine's checkpoint hook, with an exact ``--resume`` and writes that a kill cannot spoil.

    Use it in place of ``CheckpointHook``:
    ``default_hooks=dict(checkpoint=dict(type='ExactCheckpointHook'))``. Files and options are the
    same; in addition:

    - A checkpoint holds the random states of every process. A resumed run restores them before
      it draws its first batch, so with equal seeds and numbers of processes it computes the bits
      of an uninterrupted run. Validation leaves the random states as they were, and where another
      hook starts persistent workers anew (``PipelineSwitchHook``), these go on from the states of
      the workers before, whether the run was resumed or not.
    - A file is written under another name and renamed; ``last_checkpoint`` follows, and only
      then are outdated checkpoints, or the best one so far, removed. mmengine removes them first,
      which with ``max_keep_ckpts=1`` leaves none if the run is killed while it writes.

    - A checkpoint of a run with other terms is refused in one sentence.

    Not exact, for reasons outside this hook: in an ``EpochBasedTrainLoop`` a checkpoint within an
    epoch (the place in the data is in no checkpoint), and images that a transform keeps for later
    in workers that live from epoch to epoch (``CachedMosaic``); a checkpoint within gradient
    accumulation; another number of threads or another processor, on which sums round otherwise;
    ``randomness`` without a seed (the order of the data is drawn again); GPU kernels
    that are not deterministic.

    Args:
        *args, **kwargs: Arguments of ``CheckpointHook``. With ``backend_args``, or an address as
            ``out_dir``, mmengine's own backends write, and this hook does not change how.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        remote = '://' in str(self.out_dir)
        if self.backend_args is None and self.file_client_args is None and not remote:
            self.backend_args = dict(backend='atomic_local')
        self._before_val: dict[str, Any] | None = None
        self._states: list[dict[str, Any]] | None = None
        self._loaded: list[dict[str, Any]] | None = None
        self._workers: WorkerStates | None = None

    # Resuming

    def after_load_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        if getattr(runner, '_resume', False):
            check_terms(unwrapped(runner.model), checkpoint)
        self._loaded = checkpoint.get(_KEY)

    def before_train(self, runner: Any) -> None:
        super().before_train(runner)
        states, self._loaded = self._loaded, None
        loader = _persistent_loader(runner)
        if loader is not None:
            self._workers = WorkerStates(loader, self._states_of_workers(runner, loader, states))
        if runner.iter == 0:  # weights were loaded, but nothing is resumed
            return
        if states is None or len(states) != get_world_size():
            found = 'no random states' if states is None else f'those of {len(states)} processes'
            print_log(
                f'resuming is not exact: the checkpoint holds {found}, {get_world_size()} '
                'processes go on',
                logger='current',
                level=logging.WARNING,
            )
            return
        loop, state = runner.train_loop, states[get_rank()]
        if hasattr(loop, 'dataloader_iterator'):
            # The loop first draws the batches of the interrupted run to get to its place.
            loop.dataloader_iterator = _Restoring(loop.dataloader_iterator, runner.iter, state)
        else:
            set_random_state(state)

    def after_train_epoch(self, runner: Any) -> None:
        if self._workers is not None:
            self._workers.have_started()
        super().after_train_epoch(runner)

    def _states_of_workers(
        self, runner: Any, loader: DataLoader, states: list[dict[str, Any]] | None
    ) -> list[Any] | None:
        if runner.iter == 0 or states is None or len(states) != get_world_size():
            return None
        found = states[get_rank()].get('workers', [])
        if len(found) == loader.num_workers:
            return found
        print_log(
            f'resuming is not exact: the checkpoint holds the random states of {len(found)} '
            f'persistent workers, {loader.num_workers} go on',
            logger='current',
            level=logging.WARNING,
        )
        return None

    # Saving

    def before_val(self, runner: Any) -> None:
        self._before_val = random_state()

    def after_val(self, runner: Any) -> None:
        set_random_state(self._before_val)
        self._before_val = None

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        if self._states is not None:
            checkpoint[_KEY] = self._states

    def _save_best_checkpoint(self, runner: Any, metrics: dict[str, Any]) -> None:
        if not self.save_best:
            return
        self._gather()
        several = len(self.key_indicators) > 1
        paths = self.best_ckpt_path_dict if several else vars(self)
        before = {key: paths[key] for key in (list(paths) if several else ['best_ckpt_path'])}
        paths.update(dict.fromkeys(before))  # mmengine then has none to remove before it writes
        super()._save_best_checkpoint(runner, metrics)
        for key, path in before.items():
            if paths[key] is None:
                paths[key] = path
            elif path not in (None, paths[key]):
                self._remove(path)

    def _save_checkpoint_with_step(self, runner: Any, step: int, meta: dict[str, Any]) -> None:
        self._gather()
        wrapper = runner.optim_wrapper
        if getattr(wrapper, '_accumulative_counts', 1) > 1 and not wrapper.should_update():
            print_log(
                f'the checkpoint of step {step} falls amid gradient accumulation: resuming from '
                'it is not exact. Make interval a multiple of accumulative_counts',
                logger='current',
                level=logging.WARNING,
            )
        outdated: list[int] = []
        if self.max_keep_ckpts > 0:
            kept = [*(other for other in self.keep_ckpt_ids if other != step), step]
            outdated = kept[: -self.max_keep_ckpts]
            self.keep_ckpt_ids = deque(kept, self.max_keep_ckpts)
            # With the outdated ones: a run resumed from here removes them if this one cannot.
            runner.message_hub.update_info('keep_ckpt_ids', kept)
        name = self.filename_tmpl.format(step)
        self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        runner.save_checkpoint(
            self.out_dir,
            name,
            self.file_client_args,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args,
            **self.args,
        )
        if is_main_process():
            _LOCAL.put_text(self.last_ckpt, _LOCAL.join_path(runner.work_dir, 'last_checkpoint'))
        for other in outdated:
            name = self.filename_tmpl.format(other)
            self._remove(self.file_backend.join_path(self.out_dir, name))

    def _remove(self, path: str) -> None:
        if not is_main_process():
            return
        if self.file_backend.isfile(path):
            self.file_backend.remove(path)
        elif self.file_backend.isdir(path):  # as DeepSpeed and FSDP write them
            self.file_backend.rmtree(path)

    def _gather(self) -> None:
        """Collect the states of all processes; only the first one writes the file."""
        state = dict(self._before_val or random_state())
        if self._workers is not None:
            state['workers'] = self._workers.read()
        self._states = all_gather_object(state)


def check_terms(model: nn.Module, checkpoint: Mapping[str, Any]) -> None:
    """Refuse to resume from a checkpoint of other distillation terms.

    Weights of terms (of their connectors and losses) have a state in the optimizer, which fits no
    others.

    Raises:
        ValueError: With the terms that checkpoint or model lacks.
    """
    parameters = {unwrapped_key(name) for name, _ in model.named_parameters()}
    saved = {unwrapped_key(name) for name in checkpoint.get('state_dict', {})}
    lacking = _terms(parameters - saved)
    extra = _terms(saved - {unwrapped_key(name) for name in model.state_dict()})
    groups = checkpoint.get('optimizer', {}).get('param_groups')
    if groups is None or sum(len(group['params']) for group in groups) == len(parameters):
        extra = []  # no parameters, as class costs are
    faults = [
        f'{holder} lacks weights of {", ".join(terms)}'
        for holder, terms in (('the checkpoint', lacking), ('the model', extra))
        if terms
    ]
    if faults:
        raise ValueError(
            'resuming needs the terms that the checkpoint was trained with: '
            f'{" and ".join(faults)}. To begin a new schedule with its weights, set load_from to '
            'the checkpoint and leave out resume'
        )


def _terms(keys: Iterable[str]) -> list[str]:
    start = 'distiller.terms.'
    return sorted({key[len(start) :].split('.')[0] for key in keys if key.startswith(start)})


def _persistent_loader(runner: Any) -> DataLoader | None:
    """Return the loader of an epoch-based loop if its workers live from epoch to epoch."""
    loop = getattr(runner, 'train_loop', None)
    loader = getattr(loop, 'dataloader', None)
    if hasattr(loop, 'dataloader_iterator') or not isinstance(loader, DataLoader):
        return None
    return loader if loader.persistent_workers and loader.num_workers else None


class _Restoring:
    """Gives the same batches; restores the state before the first one that is not skipped."""

    def __init__(self, batches: Iterator[Any], skipped: int, state: dict[str, Any]) -> None:
        self._batches, self._left, self._state = batches, skipped, state

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if self._left == 0:
            set_random_state(self._state)
        self._left -= 1
        return next(self._batches)

    def skip_iter(self, count: int) -> None:
        """Draw batches that are not used, as the loop of OneDL asks for it.

        Its own iterator would move the sampler alone. Workers would then draw on from elsewhere.
        """
        for _ in range(count):
            next(self)
