"""The whole way on real images in one command: data, teacher, plain and distilled student.

Trains three detectors on the mini data set with MMDetection's runner, evaluates each by COCO mAP,
prints a table and paints the same scenes as each of them sees them. What is finished is reused,
what was interrupted goes on.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from make_mini_dataset import DatasetError, make_dataset
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.runner import Runner

import wkd_det  # noqa: F401  registers the distilled detectors
from wkd_det.detection.paint_detections import paint_detections

ROOT = Path(__file__).resolve().parents[1]
PROGRESS = re.compile(r'Iter\(train\)\s+\[\s*(\d+)/(\d+)\].*?eta: (\S+).*?\bloss: (\S+)')
TEACHER_CHECKPOINT = 'model.teacher.checkpoint'


@dataclass(frozen=True)
class Run:
    """A detector of the demo."""

    title: str
    config: str
    steps: int
    distilled: bool = False

    def folder(self, work_dir: Path) -> Path:
        """Where its checkpoints and logs go."""
        return work_dir / Path(self.config).stem

    def checkpoint(self, work_dir: Path) -> Path:
        """Its last checkpoint."""
        return self.folder(work_dir) / f'iter_{self.steps}.pth'


def runs(steps: int) -> list[Run]:
    """Teacher, plain student and distilled student; both students train equally long."""
    return [
        Run('teacher', 'configs/mini/faster-rcnn_teacher.py', steps * 6 // 5),
        Run('plain student', 'configs/mini/faster-rcnn_student.py', steps),
        Run('WKD-L + WKD-F student', 'configs/mini/wkd-lf.py', steps, distilled=True),
    ]


def options(run: Run, teacher: Run, data: Path, work_dir: Path) -> dict[str, object]:
    """What the demo sets in a config of configs/mini."""
    chosen: dict[str, object] = {
        'work_dir': str(run.folder(work_dir)),
        'train_cfg.max_iters': run.steps,
        'train_cfg.val_interval': run.steps,
        'param_scheduler.1.end': run.steps,
        'train_dataloader.dataset.data_root': f'{data}/',
        'val_dataloader.dataset.data_root': f'{data}/',
        'test_dataloader.dataset.data_root': f'{data}/',
        'val_evaluator.ann_file': f'{data}/annotations/instances_val.json',
        'test_evaluator.ann_file': f'{data}/annotations/instances_val.json',
    }
    if run.distilled:
        chosen[TEACHER_CHECKPOINT] = str(teacher.checkpoint(work_dir))
    return chosen


def load_config(run: Run, chosen: dict[str, object]) -> Config:
    """The config as the demo runs it."""
    config = Config.fromfile(ROOT / run.config)
    config.merge_from_dict(chosen)
    return config


def check_folder(folder: Path, config: Config) -> None:
    """Refuse to go on with a run of another config.

    Raises:
        ValueError: Naming the folder and the keys that differ.
    """
    for dumped in folder.glob('*.py'):
        other = Config.fromfile(dumped)
        ignored = {'resume', 'load_from', 'launcher', 'experiment_name', 'log_level'}
        keys = (set(config) | set(other)) - ignored
        different = sorted(key for key in keys if config.get(key) != other.get(key))
        if different:
            raise ValueError(
                f'{folder} holds a run with other settings ({", ".join(different)}): remove it '
                'or choose another --work-dir'
            )


def train(run: Run, config: Config, chosen: dict[str, object], work_dir: Path) -> None:
    """Train with tools/train.py, going on from the last checkpoint if there is one.

    Raises:
        RuntimeError: If training fails, with the end of its log.
    """
    if run.checkpoint(work_dir).is_file():
        print(f'[demo] {run.title}: {run.checkpoint(work_dir)} is finished', flush=True)
        return
    folder = run.folder(work_dir)
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / 'demo.log'
    print(f'[demo] {run.title}: {run.steps} steps, log in {log}', flush=True)
    command = [sys.executable, str(ROOT / 'tools/train.py'), str(ROOT / run.config), '--resume']
    command += ['--cfg-options', *(f'{key}={value}' for key, value in chosen.items())]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        with log.open('a', encoding='utf-8') as file:
            for line in process.stdout:
                file.write(line)
                progress = PROGRESS.search(line)
                if progress:
                    step, total, remaining, loss = progress.groups()
                    print(f'  step {step}/{total}, loss {loss}, {remaining} to go', flush=True)
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        raise
    if process.wait() != 0:
        tail = '\n'.join(log.read_text(encoding='utf-8').splitlines()[-15:])
        raise RuntimeError(f'training the {run.title} failed:\n{tail}')


def evaluate(run: Run, config: Config, work_dir: Path) -> dict[str, float]:
    """COCO metrics of the last checkpoint; kept beside it."""
    kept = run.folder(work_dir) / f'result_{run.steps}.json'
    if kept.is_file():
        return json.loads(kept.read_text(encoding='utf-8'))
    print(f'[demo] {run.title}: evaluating', flush=True)
    config.load_from = str(run.checkpoint(work_dir))
    config.log_level = 'WARNING'
    config.experiment_name = f'demo_{Path(run.config).stem}'
    runner = Runner.from_cfg(config)
    metrics = runner.test()
    plain = [p for name, p in runner.model.named_parameters() if not name.startswith('distiller.')]
    result = dict(
        mAP=metrics['coco/bbox_mAP'],
        AP50=metrics['coco/bbox_mAP_50'],
        AP75=metrics['coco/bbox_mAP_75'],
        seconds=seconds_per_step(run.folder(work_dir)),
        parameters=sum(parameter.numel() for parameter in plain),
    )
    partial = kept.with_suffix('.partial')
    partial.write_text(json.dumps(result), encoding='utf-8')
    partial.replace(kept)
    return result


def seconds_per_step(folder: Path) -> float:
    """Median over the logged training steps."""
    times = []
    for scalars in folder.glob('*/vis_data/scalars.json'):
        for line in scalars.read_text(encoding='utf-8').splitlines():
            record = json.loads(line)
            if 'loss' in record:
                times.append(record['time'])
    return statistics.median(times) if times else float('nan')


def table(results: dict[str, dict[str, float]]) -> str:
    """The results as Markdown."""
    lines = [
        '| detector | mAP | AP50 | AP75 | s / step | parameters |',
        '|---|---|---|---|---|---|',
    ]
    for title, result in results.items():
        lines.append(
            f'| {title} | {result["mAP"]:.3f} | {result["AP50"]:.3f} | {result["AP75"]:.3f} '
            f'| {result["seconds"]:.2f} | {result["parameters"] / 1e6:.2f} M |'
        )
    return '\n'.join(lines)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        '--steps',
        type=int,
        default=500,
        help='of each student; the teacher trains a fifth longer',
    )
    parser.add_argument('--data', type=Path, default=Path('data/mini_digits'))
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/mini'))
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
    work_dir = arguments.work_dir
    try:
        make_dataset(arguments.data, train=arguments.train, val=arguments.val, size=96, seed=0)
        results, shown = {}, {}
        teacher, *_ = detectors = runs(arguments.steps)
        for run in detectors:
            chosen = options(run, teacher, arguments.data, work_dir)
            config = load_config(run, chosen)
            check_folder(run.folder(work_dir), config)
            train(run, config, chosen, work_dir)
            results[run.title] = evaluate(run, config, work_dir)
            shown[run.title] = (config, run.checkpoint(work_dir))
        picture = paint_detections(
            shown,
            arguments.data / 'annotations/instances_val.json',
            arguments.data / 'val',
            work_dir / 'demo.png',
        )
    except (DatasetError, ValueError, RuntimeError) as error:
        sys.exit(f'[demo] error: {error}')
    except KeyboardInterrupt:
        sys.exit('[demo] interrupted; the same command goes on from the last checkpoint')
    print(f'\n{table(results)}\n\n[demo] picture: {picture}')


if __name__ == '__main__':
    main()
