"""A tool run in this process: starting one with torch and mmdet takes ten seconds."""

import contextlib
import io
import runpy
import sys
import time
from pathlib import Path

import mmdet
import mmengine.runner.runner
import pytest
from mmengine.logging import MessageHub, MMLogger
from mmengine.visualization import Visualizer

ROOT = Path(__file__).resolve().parents[2]
MMDET_TOOLS = Path(mmdet.__file__).parent / '.mim/tools'


def run(tool, *arguments, code=0):
    """Run a script as ``python tool arguments`` does from the root; what it prints.

    A tool that ends with a sentence (``sys.exit(text)``) has the code 1.
    """
    path = ROOT / tool
    output = io.StringIO()
    ended = 0
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(output),
    ):
        patch.chdir(ROOT)
        patch.syspath_prepend(str(path.parent))
        patch.setattr(sys, 'argv', [str(path), *map(str, arguments)])
        # What only takes time: a survey of the machine, and a pause when the data start again.
        patch.setattr(mmengine.runner.runner, 'collect_env', dict)
        patch.setattr(time, 'sleep', lambda seconds: None)
        for known in (MMLogger, MessageHub, Visualizer):  # of a run within the same second
            known._instance_dict.clear()
        try:
            runpy.run_path(str(path), run_name='__main__')
        except SystemExit as end:
            ended = end.code or 0
    if isinstance(ended, str):
        output.write(ended)
        ended = 1
    assert ended == code, output.getvalue()[-3000:]
    return output.getvalue()


def sentence(output):
    """The last line, where nothing of a traceback stands before."""
    assert 'Traceback' not in output
    return output.strip().splitlines()[-1]
