"""The table of samples: labels of the whole training set for losses that keep track of it."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.hooks import Hook

from wkd_det.distillation.distiller import distiller_of


class SampleTableHook(Hook):
    """Gives losses with ``index`` in their ``needs`` the label of every training sample.

    Contrastive losses draw samples of other classes from the whole training set. The data set
    must have ``labels()``, in the order of the indices that it puts into its batches, as
    :class:`~wkd_det.classification.data.ImageDataset` has with ``with_index=True``; wrappers that
    repeat a data set or take a part of it are seen through.

    The table is no part of a checkpoint: it is read again when a run is resumed.

    Raises:
        ValueError: When training starts, if the model has no such loss, or the data set has no
            ``labels()`` or gives no indices.
    """

    def before_train(self, runner: Any) -> None:
        distiller = distiller_of(runner)
        if distiller is None or not distiller.keeps_samples:
            raise ValueError(
                'SampleTableHook: no term of the model keeps track of samples; leave the hook out'
            )
        dataset = runner.train_loop.dataloader.dataset
        while not hasattr(dataset, 'labels') and hasattr(dataset, 'dataset'):
            dataset = dataset.dataset
        name = type(dataset).__name__
        if not hasattr(dataset, 'labels'):
            raise ValueError(
                f'SampleTableHook: the training data set {name} has no labels(), the label of '
                'every sample by its index'
            )
        if not getattr(dataset, 'with_index', True):
            raise ValueError(
                f'SampleTableHook: the training data set {name} gives no indices: set '
                'with_index=True'
            )
        device = next(runner.model.parameters()).device
        distiller.set_samples(torch.as_tensor(dataset.labels()).to(device))
