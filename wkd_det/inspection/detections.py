"""Detectors, plain or distilled: opened without a teacher, and their detections painted."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from mmdet.apis import inference_detector, init_detector
from mmengine.config import Config
from mmengine.registry import init_default_scope
from pycocotools.coco import COCO

from wkd_det.detection.export import plain_config
from wkd_det.distillation.teacher import Teacher, TeacherSource
from wkd_det.inspection.text import literal
from wkd_det.runtime.config import read_config

_TRUTH = 'ground truth'


def open_detector(config: str | os.PathLike | Config, checkpoint: str | os.PathLike) -> Teacher:
    """Load a detector strictly, or the student alone of a distilled one.

    Args:
        config: Path, ``mmdet::`` name, dict or config.
        checkpoint: Path or http(s) address of its weights.

    Returns:
        The frozen network and the names of its classes.

    Raises:
        FileNotFoundError: If config or checkpoint is not there.
        KeyError: If the config has no model.
        ValueError: If the weights do not fit.
    """
    config = read_config(config)
    init_default_scope(config.get('default_scope') or 'mmdet')
    if 'model' not in config:
        raise KeyError('the config has no model section')
    model = plain_config(config).model
    return TeacherSource(config=dict(model=model), checkpoint=str(checkpoint)).load()


def paint_detections(
    detectors: Mapping[str, tuple[Config, str | os.PathLike]],
    annotations: str | os.PathLike,
    images: str | os.PathLike,
    output: str | os.PathLike,
    *,
    scenes: int = 4,
    score_threshold: float = 0.5,
) -> Path:
    """Paint ground truth and detections side by side, one row per scene.

    The scenes are the first ones of the annotation file with at least three objects: they are not
    chosen by result.

    Args:
        detectors: Config and checkpoint by column title.
        annotations: COCO file.
        images: Folder of its images.
        output: PNG to write.
        scenes: Number of rows.
        score_threshold: Detections below it are not painted.

    Returns:
        ``output``.
    """
    from matplotlib.figure import Figure  # a heavy import that training does not need

    coco = COCO(str(annotations))
    names = {category['id']: category['name'] for category in coco.loadCats(coco.getCatIds())}
    order = list(names.values())
    chosen = [i for i in sorted(coco.getImgIds()) if len(coco.getAnnIds(imgIds=i)) >= 3][:scenes]
    models = {
        title: init_detector(config, str(checkpoint), device='cpu')
        for title, (config, checkpoint) in detectors.items()
    }
    titles = [_TRUTH, *models]
    figure = Figure(figsize=(2.6 * len(titles), 2.7 * len(chosen)), layout='tight')
    axes = figure.subplots(len(chosen), len(titles), squeeze=False)
    for row, image_id in zip(axes, chosen):
        path = Path(images) / coco.loadImgs(image_id)[0]['file_name']
        pixels = _pixels(path)
        truth = coco.loadAnns(coco.getAnnIds(imgIds=image_id))
        _paint(row[0], pixels, [(a['bbox'], names[a['category_id']], None) for a in truth])
        for axis, model in zip(row[1:], models.values()):
            found = inference_detector(model, str(path)).pred_instances
            found = found[found.scores >= score_threshold]
            boxes = [
                ((x1, y1, x2 - x1, y2 - y1), order[label], score)
                for (x1, y1, x2, y2), label, score in zip(
                    found.bboxes.tolist(), found.labels.tolist(), found.scores.tolist()
                )
            ]
            _paint(axis, pixels, boxes)
    for axis, title in zip(axes[0], titles):
        axis.set_title(literal(title), fontsize=10)
    output = Path(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(output, dpi=100)
    return output


def _pixels(path: Path) -> np.ndarray:
    from PIL import Image

    with Image.open(path) as image:
        return np.asarray(image.convert('RGB'))


def _paint(
    axis: Any, pixels: np.ndarray, boxes: list[tuple[list[float], str, float | None]]
) -> None:
    from matplotlib.patches import Rectangle

    axis.imshow(pixels, interpolation='nearest')
    axis.set_axis_off()
    for (x, y, width, height), name, score in boxes:
        color = 'lime' if score is None else 'yellow'
        axis.add_patch(
            Rectangle((x - 0.5, y - 0.5), width, height, fill=False, edgecolor=color, linewidth=1.2)
        )
        text = literal(name if score is None else f'{name} {score:.2f}')
        axis.text(
            x, y - 2, text, fontsize=6, color='black', bbox=dict(facecolor=color, pad=0.6, lw=0)
        )
