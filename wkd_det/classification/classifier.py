"""Plain image classifiers: the model that is trained and its bare network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from mmengine.model import BaseModel
from torch import Tensor, nn

from wkd_det import registry
from wkd_det.classification.targets import UNLABELLED, Targets
from wkd_det.distillation.channels_last import lay_out_channels_last
from wkd_det.ops.checks import check_booleans, check_nonnegative, is_number, plain_number
from wkd_det.ops.processes import mean_of_processes
from wkd_det.runtime.checkpoints import read_checkpoint
from wkd_det.runtime.state import load_strictly, weights_of

_PREFIX = 'network.'


class Classifier(BaseModel):
    """A network whose output is logits, with a cross-entropy loss.

    Its checkpoints are those of the network with ``network.`` before each key; checkpoints of
    the bare network load as well, and :func:`network_weights` returns such.

    Args:
        network: Config of the network, e.g. ``dict(type='CifarModel', name='resnet8x4')``.
        weights: Where the network's weights come from when training starts: a path, an http(s)
            address, ``torchvision://NAME`` or ``timm://NAME``. None: random.
        new_classifier: Let weights whose shape differs from the network's, those of a last layer
            of other classes, keep their random values. All others must fit.
        label_smoothing: Label smoothing of the cross entropy, in [0, 1); of soft labels too, which
            mixup gives without smoothing.
        ce_weight: Weight of all cross entropies, >= 0. 0 trains by the terms of a distilled
            classifier alone.
        auxiliary_weight: Weight of the cross entropies of auxiliary logits, >= 0, for networks
            that return such in training (GoogLeNet and Inception of torchvision).
        channels_last: Compute with the channels of each pixel side by side in memory. Values
            differ in rounding alone; convolutions of small networks take a quarter less on a CPU,
            and those in half precision less on a GPU.
        data_preprocessor: Config of the preprocessor;
            :class:`~wkd_det.classification.data.ImagePreprocessor` by default.

    Raises:
        TypeError: If ``network`` is no dict.
        ValueError: If ``label_smoothing`` is outside [0, 1), a weight negative, or a switch no
            boolean.

    References: Szegedy et al., Going Deeper with Convolutions, CVPR 2015 (auxiliary logits, weight
        0.3).
    """

    def __init__(
        self,
        network: Mapping[str, Any],
        *,
        weights: str | None = None,
        new_classifier: bool = False,
        label_smoothing: float = 0.0,
        ce_weight: float = 1.0,
        auxiliary_weight: float = 0.3,
        channels_last: bool = False,
        data_preprocessor: Mapping[str, Any] | None = None,
    ) -> None:
        check_booleans(new_classifier=new_classifier, channels_last=channels_last)
        if not isinstance(network, Mapping):
            raise TypeError(f'network must be a dict with a type, got {network!r}')
        if not is_number(label_smoothing) or not 0 <= label_smoothing < 1:
            raise ValueError(f'label_smoothing must lie in [0, 1), got {label_smoothing!r}')
        check_nonnegative(ce_weight=ce_weight, auxiliary_weight=auxiliary_weight)
        super().__init__(
            data_preprocessor=dict(data_preprocessor or dict(type='ImagePreprocessor'))
        )
        self.network = registry.build(network)
        self.channels_last = channels_last
        if channels_last:
            lay_out_channels_last(self.network)
        self.weights = weights
        self.new_classifier = new_classifier
        self.label_smoothing = plain_number(label_smoothing)
        self.ce_weight = plain_number(ce_weight)
        self.auxiliary_weight = plain_number(auxiliary_weight)
        self.num_classes: int | None = getattr(self.network, 'num_classes', None)
        if getattr(self.data_preprocessor, 'num_classes', 0) is None:
            self.data_preprocessor.num_classes = self.num_classes

    def init_weights(self) -> None:
        """Load ``weights``, if any are named; the network initialised itself when it was built."""
        if self.weights is not None:
            weights = network_keys(weights_of(read_checkpoint(self.weights)))
            if self.new_classifier:
                weights = self._without_classifier(weights)
            load_strictly(self.network, weights, f'weights {self.weights}')
        self._is_init = True

    def forward(
        self, images: Tensor, labels: Tensor | Targets | None = None, mode: str = 'tensor'
    ) -> Any:
        """Return logits, losses or predictions.

        Args:
            images: Normalised, shape ``(N, C, H, W)``.
            labels: Targets as the preprocessor gives them; needed for losses and predictions.
            mode: ``'tensor'``: logits ``(N, num_classes)``. ``'loss'``: dict of losses.
                ``'predict'``: one dict per image, with ``pred_score`` (probabilities) and
                ``gt_label``.

        Raises:
            ValueError: If ``mode`` is none of these.
        """
        images = self.arranged(images)
        if mode == 'loss':
            return self.loss(images, labels)
        if mode == 'predict':
            scores = split_auxiliary(self.network(images))[0].float().softmax(dim=1)
            labels = Targets.of(labels).labels
            return [dict(pred_score=score, gt_label=label) for score, label in zip(scores, labels)]
        if mode != 'tensor':
            raise ValueError(f"mode must be 'tensor', 'loss' or 'predict', got {mode!r}")
        return split_auxiliary(self.network(images))[0]

    def loss(self, images: Tensor, targets: Tensor | Targets) -> dict[str, Tensor]:
        """Return the cross entropy times ``ce_weight``, as ``loss_ce``.

        Where the network gives auxiliary logits, their cross entropies, summed and times
        ``auxiliary_weight`` and ``ce_weight``, are ``loss_auxiliary``.

        Convention:
            - Mean over the images that have a label; 0 with a graph if none has. Each such image
              has the same weight in every process, however many of them a process has.
            - Of two views the cross entropies are summed, as MLKD has them: ``ce_weight=0.1``
              gives its objective. The network runs once per view.

        Args:
            images: Normalised, shape ``(N, C, H, W)``.
            targets: Labels, ``(N,)`` or soft ``(N, C)``, or
                :class:`~wkd_det.classification.targets.Targets`.

        References: Jin et al., Multi-Level Logit Distillation, CVPR 2023 (two views).
        """
        targets = Targets.of(targets)
        outputs = []
        if targets.strong is not None:
            # Before the other pass: what records the modules is left with the first view's.
            outputs.append(self.strong_output(targets.strong))
        outputs.append(self.network(images))
        both = [split_auxiliary(output) for output in outputs]
        own = sum(self._cross_entropy(logits, targets) for logits, _ in both)
        losses = dict(loss_ce=self.ce_weight * own)
        if any(auxiliary for _, auxiliary in both):
            total = sum(
                self._cross_entropy(one, targets) for _, auxiliary in both for one in auxiliary
            )
            losses['loss_auxiliary'] = self.ce_weight * self.auxiliary_weight * total
        return losses

    def arranged(self, images: Tensor) -> Tensor:
        """Return images in the order of values that ``channels_last`` asks for."""
        return (
            images.contiguous(memory_format=torch.channels_last) if self.channels_last else images
        )

    def strong_output(self, images: Tensor) -> Any:
        """Return the network's output for the second view of a batch."""
        return self.network(self.arranged(images))

    def _cross_entropy(self, logits: Tensor, targets: Targets) -> Tensor:
        logits, labels, smoothing = logits.float(), targets.labels, self.label_smoothing
        if targets.labelled is None or targets.are_soft:
            return F.cross_entropy(logits, labels, label_smoothing=smoothing)
        # Not the mean of PyTorch: that of no image is NaN, and so is its gradient.
        each = F.cross_entropy(
            logits, labels, ignore_index=UNLABELLED, label_smoothing=smoothing, reduction='none'
        )
        count = mean_of_processes(targets.labelled.sum().float())
        return each.sum() / count.where(count > 0, 1)

    def own_keys(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the weights of a classifier, from its own or those of a bare network."""
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


def split_auxiliary(output: Any) -> tuple[Tensor, list[Tensor]]:
    """Return the logits in the output of a network, and its auxiliary ones.

    Args:
        output: Logits ``(N, C)``, or a tuple of them and of auxiliary logits (or None).

    Raises:
        TypeError: If it is anything else.
    """
    logits, *rest = output if isinstance(output, tuple) and output else (output,)
    auxiliary = [one for one in rest if one is not None]
    for one in (logits, *auxiliary):
        if not isinstance(one, Tensor) or one.shape != logits.shape:
            raise TypeError(
                'the network must return logits (N, C), or a tuple of them and of auxiliary logits '
                f'of the same shape, got a {type(output).__name__} with a {type(one).__name__}'
                f'{tuple(getattr(one, "shape", ()))}'
            )
    return logits, auxiliary


def network_of(model: nn.Module) -> nn.Module:
    """Return the network of a classifier; any other module is a network itself."""
    return model.network if isinstance(model, Classifier) else model


def network_keys(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of the bare network, from its own or those of a classifier."""
    if not any(key.startswith(_PREFIX) for key in weights):
        return dict(weights)
    return {key[len(_PREFIX) :]: value for key, value in weights.items() if key.startswith(_PREFIX)}


def network_weights(checkpoint: str) -> dict[str, Tensor]:
    """Return weights that the plain network of torchvision, timm or the CIFAR zoo loads strictly.

    Args:
        checkpoint: Path or address of the checkpoint of a plain or distilled classifier.

    Example:
        ``timm.create_model('resnet18').load_state_dict(network_weights('epoch_300.pth'))``
    """
    return network_keys(weights_of(read_checkpoint(checkpoint)))


def last_layer(network: nn.Module, num_classes: int | None) -> tuple[str, nn.Module]:
    """Return name and module of the layer that gives the logits: one output per class.

    A linear layer goes before a convolution; of several the last one is returned.

    Args:
        network: A bare network, as :func:`network_of` returns it.
        num_classes: Number of classes.

    Raises:
        ValueError: If there is no such layer.
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
        f'{type(network).__name__} has no layer with {num_classes} outputs, one per class'
    )


def class_rows(network: nn.Module, num_classes: int | None) -> Tensor:
    """Return the weight vectors of the classes in the last layer, shape ``(C, D)``."""
    return last_layer(network, num_classes)[1].weight.flatten(1)
