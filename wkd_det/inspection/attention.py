"""Attention of a detector's box head: Grad-CAM of the true classes, and its picture."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from mmdet.structures.bbox import bbox2roi
from torch import Tensor, nn

from wkd_det.detection.heads import run_box_head
from wkd_det.distillation.recording import recording

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def activation_map(detector: nn.Module, data: dict[str, Any], layer: str) -> Tensor:
    """Return the Grad-CAM map of a layer for the classes of the ground truth.

    The score is the sum of the logits of the true classes on the ground-truth boxes.

    Args:
        detector: A two-stage detector, in eval mode.
        data: A batch of one image with its boxes, before the data preprocessor.
        layer: Name of a module whose output is a map, e.g. ``'neck.fpn_convs.0'``.

    Returns:
        In [0, 1], the largest value 1 unless all are 0, shape ``(H, W)`` of the image without
        padding.

    Raises:
        ValueError: If there is no such layer, its output is no map, the logits do not depend on
            it, or the image has no boxes.

    References: Selvaraju et al., Grad-CAM, ICCV 2017; computed by the library pytorch-grad-cam.
    """
    from pytorch_grad_cam import GradCAM  # needed for plots only

    module = _submodule(detector, layer)
    data = detector.data_preprocessor(copy.deepcopy(data), False)
    sample = data['data_samples'][0]
    boxes, labels = sample.gt_instances.bboxes, sample.gt_instances.labels
    if not len(boxes):
        raise ValueError('the image has no boxes: there is no class to look for')
    trained = [parameter.requires_grad for parameter in detector.parameters()]
    detector.requires_grad_(True)
    try:
        scores = _BoxScores(detector, boxes)
        _check_layer(scores, layer, data['inputs'])
        with torch.enable_grad(), GradCAM(scores, [module]) as cam:
            values = cam(data['inputs'], [_sum_of(labels)])[0]
    finally:
        for parameter, flag in zip(detector.parameters(), trained):
            parameter.requires_grad_(flag)
            parameter.grad = None
    height, width = sample.img_shape[:2]
    return torch.from_numpy(values)[:height, :width]


class _BoxScores(nn.Module):
    """A network from an image to the logits on given boxes, shape ``(1, R, K + 1)``."""

    def __init__(self, detector: nn.Module, boxes: Tensor) -> None:
        super().__init__()
        self.detector = detector
        self.rois = bbox2roi([boxes])

    def forward(self, inputs: Tensor) -> Tensor:
        maps = self.detector.extract_feat(inputs)
        return run_box_head(self.detector, maps, self.rois, 0).logits[None]


def _sum_of(labels: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda logits: logits.gather(1, labels[:, None]).sum()


def _submodule(detector: nn.Module, layer: str) -> nn.Module:
    modules = dict(detector.named_modules())
    if layer not in modules or not layer:
        near = difflib.get_close_matches(layer, modules, n=5)
        raise ValueError(
            f'{type(detector).__name__} has no module {layer!r}'
            + (f'; near are {near}' if near else '')
        )
    return modules[layer]


@torch.enable_grad()
def _check_layer(scores: _BoxScores, layer: str, inputs: Tensor) -> None:
    """Refuse a layer on which the library would fail without saying why.

    Raises:
        ValueError: If its output is no map, or the logits do not depend on it.
    """
    with recording(scores.detector, [layer]) as recorded:
        logits = scores(inputs)
    output = recorded.latest(layer)
    if not isinstance(output, Tensor) or output.dim() != 4:
        raise ValueError(f'the output of {layer} is no map (N, C, H, W): name another module')
    (gradient,) = torch.autograd.grad(logits.sum(), output, allow_unused=True)
    # RoI extractors tie levels that no RoI is read from to the graph by zeros.
    if gradient is None or not bool(gradient.any()):
        raise ValueError(
            f'the logits on these boxes do not depend on {layer}: name a module before the level '
            'that their RoIs are read from'
        )


@dataclass(frozen=True)
class Scene:
    """An image with its boxes, and the attention of each network to it."""

    image: Tensor
    """RGB in [0, 1], shape ``(H, W, 3)``."""
    boxes: Tensor
    """Shape ``(B, 4)``: left, top, right, bottom in pixels; may be empty."""
    names: Sequence[str]
    """Class of each box, or one caption if there are no boxes."""
    maps: Mapping[str, Tensor]
    """Map of each network by its name, in [0, 1], shape ``(H, W)``."""


def attention_grid(scenes: Sequence[Scene], *, title: str = '') -> Figure:
    """Draw one row per scene: the image with its boxes, then the map of each network over it.

    Raises:
        ValueError: If there are no scenes.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    if not scenes:
        raise ValueError('scenes must not be empty')
    networks = list(scenes[0].maps)
    figure = Figure(
        figsize=(2.5 * (1 + len(networks)), 2.55 * len(scenes) + 0.5), layout='constrained'
    )
    axes = figure.subplots(len(scenes), 1 + len(networks), squeeze=False)
    for row, scene in zip(axes, scenes):
        row[0].imshow(scene.image)
        for network, axis in zip(networks, row[1:]):
            axis.imshow(scene.image.mean(dim=2), cmap='gray', vmin=0, vmax=1)
            axis.imshow(scene.maps[network], cmap='jet', vmin=0, vmax=1, alpha=0.5)
        for index, axis in enumerate(row):
            axis.set_xticks([])
            axis.set_yticks([])
            for box, name in zip(scene.boxes.tolist(), scene.names):
                left, top, right, bottom = box
                edge = Rectangle(
                    (left - 0.5, top - 0.5), right - left, bottom - top,
                    fill=False, edgecolor='lime' if index == 0 else 'white', linewidth=1,
                )  # fmt: skip
                axis.add_patch(edge)
                if index == 0:
                    axis.text(
                        left, top - 2, name, fontsize=6,
                        bbox=dict(facecolor='lime', pad=0.6, lw=0),
                    )  # fmt: skip
        if not len(scene.boxes):
            row[0].set_xlabel(', '.join(scene.names), fontsize=8)
    for axis, name in zip(axes[0], ['ground truth', *networks]):
        axis.set_title(name, fontsize=10)
    figure.suptitle(title, fontsize=10)
    return figure
