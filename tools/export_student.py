"""Export the student of a distilled checkpoint as a plain config and checkpoint of MMDetection.

Command:
    python tools/export_student.py work_dirs/wkd-lf/iter_500.pth --output exported

The folder gets student.py and student.pth, which MMDetection uses where wkd_det is not installed.
Optimizer and log are left out. The config is taken from the checkpoint, where it is read and never
run, or from --config. After a training with EMAHook the averaged weights are exported, as mmdet
would test them; --ema last exports those that the optimizer left.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from wkd_det.detection.export import WEIGHTS, export_student


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('checkpoint', help='checkpoint of a distilled model')
    parser.add_argument('--output', type=Path, required=True, help='folder for the two files')
    parser.add_argument('--config', help='config of the distilled model (default: in CHECKPOINT)')
    parser.add_argument(
        '--ema', choices=WEIGHTS, help='weights of a training with EMAHook (default: averaged)'
    )
    parser.add_argument('--force', action='store_true', help='replace files that are there')
    return parser.parse_args(argv)


def main() -> None:
    """Export, and say what was written or in one sentence why not."""
    args = parse_args()
    try:
        config, checkpoint = export_student(
            args.checkpoint, args.output, config=args.config, ema=args.ema, force=args.force
        )
    except (ImportError, KeyError, OSError, SyntaxError, ValueError) as error:
        message = error.args[0] if isinstance(error, KeyError) else error
        sys.exit(f'error: {message}')
    print(f'wrote {config} and {checkpoint}')


if __name__ == '__main__':
    main()
