"""Pictures of how far students resemble their teacher, for any detectors and their checkpoints.

Commands:
    python tools/plots.py correlation --output correlation.png \
        --teacher configs/mini/faster-rcnn_teacher.py TEACHER.pth \
        --student plain configs/mini/faster-rcnn_student.py PLAIN.pth \
        --student WKD configs/mini/wkd-lf.py WKD.pth
    python tools/plots.py discrepancy ...   squared W2 of each class's features to the teacher's
    python tools/plots.py attention ...     Grad-CAM of all on the same scenes; one-stage, too
    python tools/plots.py tsne ...          features of the classes in the plane
    python tools/plots.py transport ...     which class gives mass to which, for one RoI

Images come from the teacher's config (--data names another), --split val. docs/plots.md explains
what each picture shows.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from mmdet.structures.bbox import get_box_tensor
from mmengine.dataset import pseudo_collate
from mmengine.logging import MMLogger
from torch import Tensor
from torch.utils.data import Dataset

from mmdet_tool import mistakes_in_one_sentence
from wkd_det.costs.interface import ClassTable
from wkd_det.costs.matrix import BACKGROUND
from wkd_det.detection.heads import box_head
from wkd_det.distillation.teacher import Teacher
from wkd_det.functional import transported_histograms
from wkd_det.inspection.attention import Scene, activation_map, attention_grid, shown_image
from wkd_det.inspection.detections import open_detector
from wkd_det.inspection.network_pictures import (
    class_discrepancy,
    correlation_difference,
    feature_scatter,
    fit_linearly,
    plot_class_discrepancy,
    plot_transport_plan,
)
from wkd_det.inspection.opening import SPLITS, annotated_dataset
from wkd_det.inspection.shared_examples import SharedExamples, shared_examples
from wkd_det.losses.wkd_logit import WKDLogitLoss
from wkd_det.runtime.class_names import names_in, same_names
from wkd_det.runtime.config import read_config

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEACHER = 'teacher'


class Opened(NamedTuple):
    """Networks and data from which the pictures are made."""

    networks: dict[str, Teacher]
    """The teacher first, under the name ``'teacher'``."""
    dataset: Dataset
    class_names: list[str]

    @property
    def students(self) -> list[str]:
        """Names of all but the teacher."""
        return [name for name in self.networks if name != TEACHER]


def open_all(args: argparse.Namespace) -> Opened:
    """Load networks and data.

    Raises:
        ValueError: If they have different classes, two students one name, or a network has no
            RoIs where the figure is about RoIs.
    """
    networks = {TEACHER: open_detector(*args.teacher)}
    for name, config, checkpoint in args.student:
        if name in networks:
            raise ValueError(f'--student needs a name of its own for each, got {name!r} twice')
        networks[name] = open_detector(config, checkpoint)
    source = args.data or args.teacher[0]
    dataset = annotated_dataset(read_config(source), args.split)
    class_names = names_in(dataset.metainfo)
    if class_names is None:
        raise ValueError(f'the data of {source} have no class names')
    for name, network in networks.items():
        if args.draw is not attention and getattr(network.module, 'roi_head', None) is None:
            raise ValueError(
                f'{args.figure} compares RoIs, and {name}, a {type(network.module).__name__}, has '
                'no RoI head: of one-stage detectors only attention is drawn'
            )
        if network.class_names is not None and not same_names(network.class_names, class_names):
            raise ValueError(
                f'{name} has the classes {network.class_names}, the data have {class_names}'
            )
    return Opened(networks, dataset, class_names)


def examples_of(opened: Opened, args: argparse.Namespace) -> SharedExamples:
    """Return RoIs of the first images with the logits and features of all networks."""
    return shared_examples(
        {name: network.module for name, network in opened.networks.items()},
        opened.dataset,
        range(min(args.images, len(opened.dataset))),
        opened.class_names,
        seed=args.seed,
    )


def correlation(args: argparse.Namespace) -> Figure:
    """Class correlations of the logits."""
    opened = open_all(args)
    examples = examples_of(opened, args)
    logits = dict(examples.logits)
    return correlation_difference(
        {name: logits[name] for name in opened.students},
        logits[TEACHER],
        examples.class_names,
        title=f'correlation of class logits over {len(examples.labels)} RoIs ({args.split})',
    )


def discrepancy(args: argparse.Namespace) -> Figure:
    """Wasserstein distance of each class."""
    opened = open_all(args)
    examples = examples_of(opened, args)
    values = getattr(examples, args.of)
    # Fitted on every other image, shown on the rest: on its own examples a map shows nothing.
    fitted = examples.items % 2 == 0
    is_mapped = args.of == 'features'
    shown = ~fitted if is_mapped else torch.ones_like(fitted)
    distances = {
        name: class_discrepancy(
            _aligned(values[name], values[TEACHER], fitted if is_mapped else None)[shown],
            values[TEACHER][shown],
            examples.labels[shown],
            len(examples.class_names),
        )
        for name in opened.students
    }
    what = 'features (linear map to the teacher fitted on other images)' if is_mapped else 'logits'
    return plot_class_discrepancy(
        distances,
        examples.class_names,
        title=f'{what}, {int(shown.sum())} RoIs ({args.split})',
    )


def _aligned(student: Tensor, teacher: Tensor, fitted: Tensor | None) -> Tensor:
    return student if fitted is None else fit_linearly(student, teacher, fitted)


def attention(args: argparse.Namespace) -> Figure:
    """Grad-CAM of all networks."""
    opened = open_all(args)
    scenes = []
    for item in range(len(opened.dataset)):
        sample = opened.dataset[item]
        truth = sample['data_samples'].gt_instances
        if len(truth.bboxes) < args.objects:
            continue
        batch = pseudo_collate([sample])
        maps = {
            name: activation_map(network.module, batch, args.layer)
            for name, network in opened.networks.items()
        }
        names = [opened.class_names[label] for label in truth.labels.tolist()]
        image = shown_image(sample['inputs'])
        scenes.append(Scene(image, get_box_tensor(truth.bboxes), names, maps))
        if len(scenes) == args.scenes:
            break
    if not scenes:
        raise ValueError(f'--objects {args.objects}: no image of {args.split} has so many')
    return attention_grid(scenes, title=f'Grad-CAM of the true classes at {args.layer}')


def tsne(args: argparse.Namespace) -> Figure:
    """Features in the plane."""
    opened = open_all(args)
    examples = examples_of(opened, args)
    chosen = torch.cat(
        [
            (examples.labels == label).nonzero().flatten()[: args.per_class]
            for label in range(len(examples.class_names))
        ]
    )
    return feature_scatter(
        {name: values[chosen] for name, values in examples.features.items()},
        examples.labels[chosen],
        examples.class_names,
        seed=args.seed,
        title=f't-SNE of what the classifier reads, {len(chosen)} RoIs ({args.split})',
    )


def transport(args: argparse.Namespace) -> Figure:
    """Transport plan of WKD-L for the object whose transport costs most, or the next ones."""
    opened = open_all(args)
    if len(opened.students) != 1:
        raise ValueError(f'a plan is that of one student, got --student {opened.students}')
    student = opened.students[0]
    loss = _logit_loss(opened, args)
    examples = examples_of(opened, args)
    objects = (examples.labels < len(opened.class_names)).nonzero().flatten()
    if args.rank > len(objects):
        raise ValueError(f'--rank {args.rank}: there are only {len(objects)} objects')
    own, other = examples.logits[student][objects], examples.logits[TEACHER][objects]
    labels = examples.labels[objects]
    plans = loss.plan(own, other, labels)
    costs = (plans * loss.cost).sum(dim=(1, 2))
    chosen = int(costs.argsort(descending=True, stable=True)[args.rank - 1])
    index = int(objects[chosen])
    left_out = None if args.joint else labels
    source, goal, _ = transported_histograms(own, other, left_out, args.temperature)
    box = ', '.join(f'{side:.0f}' for side in examples.boxes[index].tolist())
    return plot_transport_plan(
        plans[chosen],
        loss.cost,
        examples.class_names,
        student=source[chosen],
        teacher=goal[chosen],
        title=(
            f'{student} to teacher: {examples.class_names[int(examples.labels[index])]} at '
            f'[{box}], image {int(examples.items[index])} of {args.split}'
            f'{"" if args.joint else ", the true class left out"}'
        ),
    )


def _logit_loss(opened: Opened, args: argparse.Namespace) -> WKDLogitLoss:
    """Return WKD-L as the command line describes it."""
    cost = dict(type='ClassifierCost')
    if args.cost is not None:
        cost = dict(type='FileCost', path=args.cost, by_position=args.by_position)
    loss = WKDLogitLoss(
        cost=cost,
        temperature=args.temperature,
        sharpness=args.sharpness,
        epsilon=args.epsilon,
        separated=not args.joint,
        log_domain=True,
    )
    teacher = opened.networks[TEACHER]
    rows = box_head(teacher.module, 0, TEACHER).fc_cls.weight
    names = None if teacher.class_names is None else [*teacher.class_names, BACKGROUND]
    table = ClassTable(count=len(rows), names=names, rows=lambda: rows)
    loss.set_distance(teacher.distances(loss.distance_source, table))
    return loss


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest='figure', required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        '--teacher', nargs=2, required=True, metavar=('CONFIG', 'CHECKPOINT'),
        help='the network that all students are compared with',
    )  # fmt: skip
    common.add_argument(
        '--student', nargs=3, action='append', required=True,
        metavar=('NAME', 'CONFIG', 'CHECKPOINT'), help='may be given several times',
    )  # fmt: skip
    common.add_argument('--output', type=Path, required=True, help='PNG, SVG or PDF to write')
    common.add_argument('--data', help="config whose data are read (default: the teacher's)")
    common.add_argument(
        '--split', choices=SPLITS, default='val', help='images that are read (default: val)'
    )
    common.add_argument(
        '--images', type=_positive, default=250, help='images read at most (default: 250)'
    )
    common.add_argument(
        '--seed', type=int, default=0, help='seed of background RoIs and of t-SNE (default: 0)'
    )
    for function in (correlation, discrepancy, attention, tsne, transport):
        name = function.__name__
        command = commands.add_parser(name, help=function.__doc__, parents=[common])
        command.set_defaults(draw=function)
        if name == 'discrepancy':
            command.add_argument(
                '--of', choices=('logits', 'features'), default='logits',
                help='features are mapped to the width of the teacher first (default: logits)',
            )  # fmt: skip
        if name == 'attention':
            command.add_argument(
                '--layer', default='neck.fpn_convs.0',
                help='a module of all networks that returns a map (default: neck.fpn_convs.0, P2)',
            )  # fmt: skip
            command.add_argument('--scenes', type=_positive, default=4, help='rows (default: 4)')
            command.add_argument(
                '--objects', type=_positive, default=3,
                help='show the first scenes with at least so many objects (default: 3)',
            )  # fmt: skip
        if name == 'tsne':
            command.add_argument(
                '--per-class', type=_positive, default=40, help='examples per class (default: 40)'
            )
        if name == 'transport':
            command.add_argument(
                '--rank', type=_positive, default=1,
                help='1: the object whose transport costs most, 2: the next (default: 1)',
            )  # fmt: skip
            command.add_argument(
                '--joint', action='store_true', help='transport all classes, the true one included'
            )
            command.add_argument('--cost', help="a cost file (default: the teacher's classifier)")
            command.add_argument(
                '--by-position', action='store_true', help='trust the order of a file without names'
            )
            settings = dict(temperature=1.0, sharpness=2.0, epsilon=0.05)
            for option, default in settings.items():
                command.add_argument(
                    f'--{option}',
                    type=float,
                    default=default,
                    help=f'{option} of WKD-L (default: {default})',
                )
    return parser.parse_args(argv)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f'must be at least 1, got {value}')
    return value


def main(argv: list[str] | None = None) -> None:
    """Draw, or say in one sentence why not."""
    args = parse_args(argv)
    MMLogger.get_instance('plots', log_level='WARNING')
    with mistakes_in_one_sentence():
        try:
            figure = args.draw(args)
        except ValueError as error:
            sys.exit(f'error: {error}')
    args.output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(args.output, dpi=130)
    print(f'wrote {args.output}')


if __name__ == '__main__':
    main()
