"""The whole way on real images in one command: data, teacher, plain and distilled student.

Trains three detectors on the mini data set with MMDetection's runner, evaluates each by COCO mAP,
prints a table and paints the same scenes with the detections of each. Finished runs are reused,
interrupted ones go on.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mmdet.registry import MODELS
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope

from dataset_folder import DatasetError
from make_mini_dataset import make_dataset
from wkd_det.experiments.lengths import set_length
from wkd_det.experiments.processes import ProcessGroup, Progress
from wkd_det.experiments.run import ChangedError, RunError, TrainingRun
from wkd_det.experiments.shards import LockedError
from wkd_det.inspection.detections import paint_detections
from wkd_det.runtime.config import read_config

METRIC = 'coco/bbox_mAP'
TOOLS = Path(__file__).parent


def planned_runs(steps: int, data: Path, work_dir: Path) -> list[TrainingRun]:
    """Return teacher, plain student and distilled student; both students train equally long."""
    folder = TOOLS.parent / 'configs/mini'
    teacher, plain, distilled = (
        planned_run(title, folder / name, length, data, work_dir)
        for title, name, length in (
            ('teacher', 'faster-rcnn_teacher.py', steps * 6 // 5),
            ('plain student', 'faster-rcnn_student.py', steps),
            ('WKD-L + WKD-F student', 'wkd-lf.py', steps),
        )
    )
    distilled.config.model.teacher.checkpoint = str(teacher.folder / f'iter_{teacher.length}.pth')
    return [teacher, plain, distilled]


def planned_run(title: str, path: Path, steps: int, data: Path, work_dir: Path) -> TrainingRun:
    """Return the run of a config of configs/mini, with other data and another length."""
    config = read_config(path)
    set_length(config, steps)
    for part in ('train', 'val', 'test'):
        config[f'{part}_dataloader'].dataset.data_root = f'{data}/'
    for part in ('val', 'test'):
        config[f'{part}_evaluator'].ann_file = f'{data}/annotations/instances_val.json'
    return TrainingRun(title, config, work_dir / path.stem, METRIC, tools=TOOLS)


def train(run: TrainingRun, group: ProcessGroup) -> None:
    """Train and validate, going on from the last checkpoint if there is one.

    Raises:
        LockedError: If another process is at work on it.
        RunError: If the folder holds another run, or training fails.
    """
    if run.is_finished:
        print(f'[demo] {run.title}: {run.folder} is finished', flush=True)
    else:
        print(f'[demo] {run.title}: {run.length} steps, log in {run.folder}', flush=True)

    def report(progress: Progress) -> None:
        print(
            f'  step {progress.step}/{progress.total}, loss {progress.loss}, '
            f'{progress.remaining} to go',
            flush=True,
        )

    run.run(report, group)


def parameters(run: TrainingRun) -> int:
    """Return the number of parameters, of the student alone."""
    init_default_scope('mmdet')
    named = MODELS.build(run.config.model).named_parameters()
    return sum(value.numel() for name, value in named if not name.startswith('distiller.'))


def table(runs: list[TrainingRun]) -> str:
    """Return the results as Markdown."""
    lines = [
        '| detector | mAP | AP50 | AP75 | s / step | parameters |',
        '|---|---|---|---|---|---|',
    ]
    for run in runs:
        record = run.record()
        metrics = [record['metrics'][METRIC + suffix] for suffix in ('', '_50', '_75')]
        lines.append(
            f'| {run.title} | {" | ".join(f"{value:.3f}" for value in metrics)} '
            f'| {record["seconds_per_step"]:.2f} | {parameters(run) / 1e6:.2f} M |'
        )
    return '\n'.join(lines)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        '--steps',
        type=int,
        default=500,
        help='steps of each student; the teacher trains a fifth longer (default: 500)',
    )
    parser.add_argument(
        '--data', type=Path, default=Path('data/mini_digits'), help='folder of the mini data set'
    )
    parser.add_argument(
        '--work-dir', type=Path, default=Path('work_dirs/mini'), help='folder of the three runs'
    )
    parser.add_argument('--train', type=int, default=1000, help='training scenes')
    parser.add_argument('--val', type=int, default=250, help='validation scenes')
    arguments = parser.parse_args()
    if arguments.steps < 2:
        parser.error(f'--steps must be at least 2, got {arguments.steps}')
    return arguments


def main() -> None:
    """Run the demo."""
    arguments = parse_arguments()
    MMLogger.get_instance('demo', log_level='WARNING')
    group = ProcessGroup()
    try:
        make_dataset(arguments.data, train=arguments.train, val=arguments.val, size=96, seed=0)
        runs = planned_runs(arguments.steps, arguments.data, arguments.work_dir)
        for run in runs:
            train(run, group)
        picture = paint_detections(
            {run.title: (run.config, run.checkpoint) for run in runs},
            arguments.data / 'annotations/instances_val.json',
            arguments.data / 'val',
            arguments.work_dir / 'demo.png',
        )
    except ChangedError as error:
        sys.exit(f'[demo] error: {error}: remove it or choose another --work-dir')
    except (DatasetError, FileNotFoundError, LockedError, RunError, ValueError) as error:
        sys.exit(f'[demo] error: {error}')
    except KeyboardInterrupt:
        sys.exit('[demo] interrupted; the same command goes on from the last checkpoint')
    finally:
        group.end()
    print(f'\n{table(runs)}\n\n[demo] picture: {picture}')


if __name__ == '__main__':
    main()
