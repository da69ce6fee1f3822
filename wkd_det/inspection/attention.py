"""Attention of a detector: Grad-CAM of the true classes, and its picture."""

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
from wkd_det.inspection.text import literal

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def activation_map(detector: nn.Module, data: dict[str, Any], layer: str) -> Tensor:
    """Return the Grad-CAM map of a layer for the classes of the ground truth.

    The score is the sum of the logits of the true classes on the ground-truth boxes. Those of a
    two-stage detector are its box head's on these RoIs. Those of a one-stage detector are the
    largest of its dense head's at the locations inside a box, or at the nearest one.

    Args:
        detector: A two-stage detector, or a one-stage detector whose head gives maps of class
            logits, in eval mode.
        data: A batch of one image with its boxes, before the data preprocessor.
        layer: Name of a module whose output is a map, e.g. ``'neck.fpn_convs.0'``.

    Returns:
        In [0, 1], the largest value 1 unless all are 0, shape ``(H, W)`` of the image without
        padding.

    Raises:
        ValueError: If there is no such layer, its output is no map, the logits do not depend on
            it, the image has no boxes, or the detector has neither kind of logits.

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
        two_stages = getattr(detector, 'roi_head', None) is not None
        scores = (_BoxScores if two_stages else _DenseScores)(detector, boxes)
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


class _DenseScores(nn.Module):
    """A network from an image to the largest logits in given boxes, shape ``(1, R, K)``."""

    def __init__(self, detector: nn.Module, boxes: Tensor) -> None:
        super().__init__()
        self.detector = detector
        self.boxes = boxes

    def forward(self, inputs: Tensor) -> Tensor:
        places, logits = [], []
        for level in self._score_maps(inputs):
            height, width = level.shape[-2:]
            rows = (torch.arange(height).to(level) + 0.5) * (inputs.shape[-2] / height)
            columns = (torch.arange(width).to(level) + 0.5) * (inputs.shape[-1] / width)
            grid = torch.meshgrid(columns, rows, indexing='xy')
            places.append(torch.stack(grid, dim=2).flatten(0, 1))
            classes = self.detector.bbox_head.cls_out_channels
            by_anchor = level[0].unflatten(0, (-1, classes)).amax(dim=0)
            logits.append(by_anchor.flatten(1).t())
        chosen = _inside_or_nearest(torch.cat(places), self.boxes)
        joined = torch.cat(logits)
        return torch.stack([joined[own].amax(dim=0) for own in chosen])[None]

    def _score_maps(self, inputs: Tensor) -> Sequence[Tensor]:
        """Class logits per level, each ``(1, A K, H, W)`` with ``A`` anchors per location."""
        head = getattr(self.detector, 'bbox_head', None)
        classes = getattr(head, 'cls_out_channels', None)
        if classes is not None:
            maps = head(self.detector.extract_feat(inputs))[0]
            is_map = [isinstance(one, Tensor) and one.dim() == 4 for one in maps]
            if all(is_map) and all(one.shape[1] % classes == 0 for one in maps):
                return maps
        raise ValueError(
            f'{type(self.detector).__name__} has neither a RoI head nor a head of class logits per '
            'location: there is nothing to show its attention by'
        )


def _inside_or_nearest(places: Tensor, boxes: Tensor) -> list[Tensor]:
    """Return the indices of the places inside each box, of the nearest one where there is none."""
    left_top, right_bottom = boxes[:, None, :2], boxes[:, None, 2:]
    inside = ((places >= left_top) & (places <= right_bottom)).all(dim=2)
    nearest = torch.cdist(boxes.view(-1, 2, 2).mean(dim=1), places).argmin(dim=1)
    inside[torch.arange(len(boxes)), nearest] |= ~inside.any(dim=1)
    return [own.nonzero().flatten() for own in inside]


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
def _check_layer(scores: _BoxScores | _DenseScores, layer: str, inputs: Tensor) -> None:
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
            'that they are read from'
        )


@dataclass(frozen=True)
class Scene:
    """An image with its boxes, and the attention of each network to it."""

    image: Tensor
    """RGB in [0, 1], shape ``(H, W, 3)``; see :func:`shown_image`."""
    boxes: Tensor
    """Shape ``(B, 4)``: left, top, right, bottom in pixels; may be empty."""
    names: Sequence[str]
    """Class of each box, or one caption if there are no boxes."""
    maps: Mapping[str, Tensor]
    """Map of each network by its name, in [0, 1], shape ``(H, W)``."""


def shown_image(inputs: Tensor) -> Tensor:
    """Return an image as it is drawn: RGB in [0, 1], shape ``(H, W, 3)``.

    Args:
        inputs: As MMDetection's pipelines give it, before the data preprocessor, shape
            ``(C, H, W)``. Three channels are BGR; of any other number the mean is drawn, in grey.
            Values above 255 (images of 16 bits) are divided by the largest.
    """
    values = inputs.float()
    values = values / max(255.0, float(values.max()))
    if len(values) == 3:
        return values.flip(0).permute(1, 2, 0)
    return values.mean(dim=0)[..., None].expand(-1, -1, 3)


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
                        left, top - 2, literal(name), fontsize=6,
                        bbox=dict(facecolor='lime', pad=0.6, lw=0),
                    )  # fmt: skip
        if not len(scene.boxes):
            row[0].set_xlabel(literal(', '.join(scene.names)), fontsize=8)
    for axis, name in zip(axes[0], ['ground truth', *networks]):
        axis.set_title(literal(name), fontsize=10)
    figure.suptitle(literal(title), fontsize=10)
    return figure
