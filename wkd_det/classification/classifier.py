"""The layer of a network that gives the logits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from mmengine.model import BaseModel
from torch import Tensor, nn

from wkd_det import registry
from wkd_det.runtime.checkpoints import read_checkpoint
from wkd_det.runtime.state import load_strictly, weights_of


def last_layer(network: nn.Module, num_classes: int | None) -> tuple[str, nn.Module]:
    """Name and module of the layer with one output a class; the last one, if there are more;
    linear before convolutional.

    Raises:
        ValueError: If there is none.
    """
    for kind, width in ((nn.Linear, 'out_features'), (nn.Conv2d, 'out_channels')):
        layers = [
            (name, module)
            for name, module in network.named_modules()
            if isinstance(module, kind) and getattr(module, width) == num_classes
        ]
        if layers:
            return layers[-1]
    raise ValueError(
        f'{type(network).__name__} has no layer with {num_classes} outputs, one a class'
    )


def class_rows(network: nn.Module, num_classes: int | None) -> Tensor:
    """Weight vectors of the classes, shape ``(C, D)``."""
    return last_layer(network, num_classes)[1].weight.flatten(1)


_PREFIX = 'network.'


class Classifier(BaseModel):
    """A network whose output is logits, with a cross-entropy loss.

    Its checkpoints are those of the network with ``network.`` before each key; checkpoints of
    the bare network load as well. :func:`network_weights` gives the bare ones back.

    Args:
        network: Config of the network, e.g. ``dict(type='CifarModel', name='resnet8x4')``.
        weights: Where the network's weights come from when training starts: a path, an http(s)
            address, ``torchvision://NAME`` or ``timm://NAME``. None: random.
        new_classifier: Let weights whose shape differs from the network's, those of a last layer
            of other classes, keep their random values. All others must fit.
        label_smoothing: Of the cross entropy.
        data_preprocessor: :class:`ImagePreprocessor` by default.

    Raises:
        ValueError: If ``label_smoothing`` is outside [0, 1).
    """

    def __init__(
        self,
        network: Mapping[str, Any],
        *,
        weights: str | None = None,
        new_classifier: bool = False,
        label_smoothing: float = 0.0,
        data_preprocessor: Mapping[str, Any] | None = None,
    ) -> None:
        if not 0 <= label_smoothing < 1:
            raise ValueError(f'label_smoothing must lie in [0, 1), got {label_smoothing}')
        super().__init__(
            data_preprocessor=dict(data_preprocessor or dict(type='ImagePreprocessor'))
        )
        self.network = registry.build(network)
        self.weights = weights
        self.new_classifier = new_classifier
        self.label_smoothing = label_smoothing
        self.num_classes: int | None = getattr(self.network, 'num_classes', None)
        if getattr(self.data_preprocessor, 'num_classes', 0) is None:
            self.data_preprocessor.num_classes = self.num_classes

    def init_weights(self) -> None:
        """Load ``weights``, where there are any; the network has initialised itself when built."""
        if self.weights is not None:
            weights = network_keys(weights_of(read_checkpoint(self.weights)))
            if self.new_classifier:
                weights = self._without_classifier(weights)
            load_strictly(self.network, weights, f'weights {self.weights}')
        self._is_init = True

    def forward(self, images: Tensor, labels: Tensor | None = None, mode: str = 'tensor') -> Any:
        """Logits, losses or predictions.

        Args:
            images: Normalised, shape ``(N, C, H, W)``.
            labels: Shape ``(N,)``; needed for losses.
            mode: ``'tensor'``: logits ``(N, num_classes)``. ``'loss'``: dict of losses.
                ``'predict'``: one dict an image, with ``pred_score`` (probabilities) and
                ``gt_label``.

        Raises:
            ValueError: If ``mode`` is something else.
        """
        if mode == 'loss':
            return self.loss(images, labels)
        if mode == 'predict':
            scores = self.network(images).float().softmax(dim=1)
            return [dict(pred_score=score, gt_label=label) for score, label in zip(scores, labels)]
        if mode != 'tensor':
            raise ValueError(f"mode must be 'tensor', 'loss' or 'predict', got {mode!r}")
        return self.network(images)

    def loss(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Cross entropy, mean over images."""
        logits = self.network(images)
        smoothing = self.label_smoothing
        return dict(loss_ce=F.cross_entropy(logits.float(), labels, label_smoothing=smoothing))

    def own_keys(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Weights of a classifier, from those of a classifier or of a bare network."""
        if any(key.startswith(_PREFIX) for key in weights):
            return dict(weights)
        return {f'{_PREFIX}{key}': value for key, value in weights.items()}

    def _load_from_state_dict(
        self, state_dict: dict[str, Tensor], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        if not prefix and state_dict:  # e.g. load_from of a bare network
            renamed = self.own_keys(state_dict)
            state_dict.clear()
            state_dict.update(renamed)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def _without_classifier(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        own = self.network.state_dict()
        other = [key for key in weights if key in own and weights[key].shape != own[key].shape]
        print_log(f'{self.weights}: left out {", ".join(other) or "nothing"}', logger='current')
        return {key: own[key] if key in other else value for key, value in weights.items()}


def network_keys(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of the bare network, from those of a classifier or of a bare network."""
    if not any(key.startswith(_PREFIX) for key in weights):
        return dict(weights)
    return {key[len(_PREFIX) :]: value for key, value in weights.items() if key.startswith(_PREFIX)}


def network_weights(checkpoint: str) -> dict[str, Tensor]:
    """Weights that the plain network of torchvision, timm or the CIFAR zoo loads strictly.

    Args:
        checkpoint: Of a plain or distilled classifier.

    Example:
        ``timm.create_model('resnet18').load_state_dict(network_weights('epoch_300.pth'))``
    """
    return network_keys(weights_of(read_checkpoint(checkpoint)))


def network_of(model: nn.Module) -> nn.Module:
    """The network of a classifier; any other module is a network itself."""
    return model.network if isinstance(model, Classifier) else model


class TopKAccuracy(BaseMetric):
    """Share of images whose label is among the k classes of highest score, in percent.

    Convention:
        Of equal scores the lower class comes first, so a constant output does not score 100 %.

    Args:
        topk: Values of k; each gives a figure ``accuracy/top<k>``.
        **options: Of mmengine's ``BaseMetric``.

    Raises:
        ValueError: If a k is not positive, or (when evaluated) above the number of classes.
    """

    default_prefix = 'accuracy'

    def __init__(self, topk: Sequence[int] = (1, 5), **options: Any) -> None:
        if not topk or min(topk) < 1:
            raise ValueError(f'topk must hold positive numbers, got {topk}')
        super().__init__(**options)
        self.topk = tuple(topk)

    def process(self, data_batch: Any, data_samples: Sequence[Mapping[str, Any]]) -> None:
        """Note the rank of each image's label, 0 for the best."""
        scores = torch.stack([sample['pred_score'] for sample in data_samples])
        labels = torch.stack([torch.as_tensor(sample['gt_label']) for sample in data_samples])
        if scores.shape[1] < max(self.topk):
            raise ValueError(f'topk is {self.topk}, but there are {scores.shape[1]} classes')
        labels = labels.to(scores.device)[:, None]
        own = scores.gather(1, labels)
        earlier = torch.arange(scores.shape[1], device=scores.device) < labels
        better = (scores > own) | ((scores == own) & earlier)
        # NaN is above nothing: an image without a finite score is not recognised.
        ranks = better.sum(dim=1).where(own[:, 0].isfinite(), scores.shape[1])
        self.results.extend(ranks.tolist())

    def compute_metrics(self, results: list[int]) -> dict[str, float]:
        """Percent by ``top<k>``."""
        ranks = torch.tensor(results)
        return {f'top{k}': (ranks < k).double().mean().item() * 100 for k in self.topk}
