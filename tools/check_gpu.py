"""Check wkd_det on a GPU: numbers right, losses fast, steps cheap, hosts not waiting.

Needs no data set, no weights and no compiled mmcv; images and weights are random. In less than
six minutes:

    python tools/check_gpu.py                       # writes work_dirs/gpu/gpu.json and gpu.md
    python tools/check_gpu.py --device cpu --tiny   # tries the tool itself: a minute of one core

Parts, each in a process of its own:
    numerics      every loss against float64 on the CPU: float32, TF32, float16, bfloat16, and
                  deterministic mode
    losses        time, launches, memory and waits of the losses at sizes of COCO and ImageNet
    classifiers   steps of ResNet-34 to ResNet-18, and forms of the teacher
    detectors     steps of Faster R-CNN R-101 to R-18, 800 x 1333, and forms of the teacher

Results are written after each part. A part that crashes or does not end in its time keeps what
it has found, and the others go on; the exit code is then 1.
"""

from __future__ import annotations

import argparse
import platform
import signal
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from gpu_check.predictions import judge
from gpu_check.processes import INTERRUPTED, NOT_STARTED, run_in_process
from gpu_check.report import all_done, report, summary
from wkd_det.runtime.files import write_json, write_whole
from wkd_det.version import __version__

PARTS = {
    'numerics': ('gpu_check.numerics:check_numerics', 45),
    'losses': ('gpu_check.losses:check_losses', 65),
    'classifiers': ('gpu_check.steps:check_classifiers', 95),
    'detectors': ('gpu_check.steps:check_detectors', 145),
}
"""Function, and share of the time, of each part."""
_LEAST = 60
"""Seconds below which no run makes sense: starting takes a quarter of them."""
_RESERVE = 8
"""Seconds at the end of a part in which nothing new is begun."""


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--device', default='cuda', help='cuda, cuda:1, ..., or cpu with --tiny')
    parser.add_argument(
        '--out', type=Path, default=Path('work_dirs/gpu'), help='folder (default: work_dirs/gpu)'
    )
    parser.add_argument(
        '--parts', nargs='+', choices=PARTS, default=[*PARTS], help='some parts (default: all)'
    )
    parser.add_argument(
        '--seconds', type=float, help='time for all parts (default: 350, on a CPU 1800)'
    )
    parser.add_argument(
        '--tiny', action='store_true', help='small sizes: try the tool, the times mean nothing'
    )
    parser.add_argument('--into', type=Path, help=argparse.SUPPRESS)  # in the process of a part
    args = parser.parse_args(argv)
    if args.seconds is None:
        args.seconds = 1800.0 if args.device == 'cpu' else 350.0
    if args.into is None:
        problem = _problem(args)
        if problem:
            parser.error(problem)
    return args


def _problem(args: argparse.Namespace) -> str | None:
    """Return what is wrong with the arguments."""
    if not args.seconds >= _LEAST:
        return f'--seconds must be at least {_LEAST}, but got {args.seconds:g}'
    try:
        args.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return f'--out must be a folder to write to, but {args.out}: {error.strerror}'
    try:
        device = torch.device(args.device)
    except RuntimeError:
        return f'--device must be cuda, cuda:N or cpu, but got {args.device!r}'
    if device.type == 'cpu':
        return None if args.tiny else '--device cpu takes hours at full size: add --tiny'
    if device.type != 'cuda':
        return f'--device must be cuda, cuda:N or cpu, but got {args.device!r}'
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if (device.index or 0) < count:
        return None
    return (
        f'--device {args.device} is not there: torch {torch.__version__} finds {count} GPUs; '
        '--device cpu --tiny tries the tool'
    )


def main(argv: list[str] | None = None) -> None:
    """Run the parts, write the report after each, and say by the exit code how it went."""
    args = parse_args(argv)
    if args.into is not None:
        run_part(args)
        return
    parts = {name: dict(state=NOT_STARTED, seconds=0) for name in args.parts}
    results = dict(version=__version__, device=args.device, tiny=args.tiny, parts=parts)
    end = time.monotonic() + args.seconds
    try:
        for index, name in enumerate(args.parts):
            share = sum(PARTS[other][1] for other in args.parts[index:])
            seconds = (end - time.monotonic()) * PARTS[name][1] / share
            print(f'{name}: at most {seconds:.0f} s', flush=True)
            found = parts[name] = start_part(args, name, seconds)
            print(f'{name}: {found["state"]} in {found["seconds"]} s', found.get('error', ''))
            save(args.out, results)
            if found['state'] == INTERRUPTED:
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        save(args.out, results)
        sys.exit(f'interrupted; what was found is in {args.out / "gpu.md"}')
    print(f'\n{summary(results)}\n\nall of it: {args.out / "gpu.md"} and {args.out / "gpu.json"}')
    sys.exit(0 if all_done(results) else 1)


def start_part(args: argparse.Namespace, name: str, seconds: float) -> dict[str, Any]:
    """Run a part in a process of its own and return what it has found."""
    file = args.out / f'{name}.part.json'
    command = [sys.executable, '-W', 'ignore', str(Path(__file__).resolve())]
    command += ['--parts', name, '--device', args.device, '--into', str(file)]
    command += ['--seconds', f'{max(seconds - _RESERVE, 0):.1f}', *(['--tiny'] * args.tiny)]
    # cuBLAS has the same bits every time only with a workspace of this kind.
    environment = dict(CUBLAS_WORKSPACE_CONFIG=':4096:8') if name == 'numerics' else {}
    return run_in_process(
        command, file, args.out / 'gpu.log', seconds=seconds, environment=environment
    )


def run_part(args: argparse.Namespace) -> None:
    """Measure a part in this process."""
    from gpu_check.measuring import Meter
    from gpu_check.notes import Notes

    device = torch.device(args.device)
    if device.type == 'cpu':
        torch.set_num_threads(1)
    else:
        device = torch.device('cuda', device.index or 0)
        torch.cuda.set_device(device)
    notes = Notes(args.into, args.seconds)
    notes.add('facts', **facts(device))
    (name,) = args.parts
    module, _, function = PARTS[name][0].partition(':')
    getattr(import_module(module), function)(notes, Meter(device, brief=args.tiny))


def facts(device: torch.device) -> dict[str, Any]:
    """Return what the figures depend on in addition to the code."""
    from benchmarks.report import machine
    from wkd_det.runtime.found import mmcv_operators, version_of

    known = machine()
    found = dict(
        device=known['processor'],
        torch=known['torch'],
        python=known['python'],
        platform=platform.platform(),
        mmdet=version_of('mmdet') or 'none',
        mmcv=f'{version_of("mmcv") or "none"}, operators: {mmcv_operators()}',
    )
    if device.type == 'cuda':
        card = torch.cuda.get_device_properties(device)
        found.update(
            device=f'{card.name}, {card.total_memory / 2**30:.0f} GiB, '
            f'capability {card.major}.{card.minor}',
            host=f'{known["processor"]}, {known["cores"]} cores',
            cuda=torch.version.cuda,
            cudnn=torch.backends.cudnn.version(),
        )
    return found


def save(folder: Path, results: dict[str, Any]) -> None:
    """Write both files."""
    predictions = [prediction._asdict() for prediction in judge(results)]
    write_whole(folder / 'gpu.md', report(results))
    write_json(folder / 'gpu.json', dict(results, predictions=predictions))


if __name__ == '__main__':
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that parts end with this process
    main()
