"""Commands as a user gives them: in this process, which saves ten seconds each, or in their own."""

import contextlib
import io
import os
import runpy
import socket
import subprocess
import sys
from pathlib import Path

import mmdet
import pytest
from mmengine.logging import MessageHub, MMLogger
from mmengine.visualization import Visualizer

ROOT = Path(__file__).resolve().parents[2]
MMDET_TOOLS = Path(mmdet.__file__).parent / '.mim/tools'
ENVIRONMENT = dict(
    os.environ,
    PYTHONPATH=str(ROOT),
    OMP_NUM_THREADS='1',
    MKL_NUM_THREADS='1',
    OPENBLAS_NUM_THREADS='1',
)
"""Of a process that uses this checkout; whoever compares its bits takes ``one_thread`` as well."""
HANGS = 1800
"""Seconds after which a process hangs for sure, however busy the machine is."""


def free_port():
    """Return a port that no process listens on."""
    with socket.socket() as server:
        server.bind(('127.0.0.1', 0))
        return str(server.getsockname()[1])


def run(tool, *arguments, code=0):
    """Run a script as ``python tool arguments`` does from the root; return what it prints.

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


def run_apart(*command, code=0, **environment):
    """Run ``python command`` from the root in a process of its own; return what it prints."""
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=ROOT,
        env=dict(ENVIRONMENT, **environment),
        capture_output=True,
        text=True,
        timeout=HANGS,
        check=False,
    )
    output = done.stdout + done.stderr
    assert done.returncode == code, output[-3000:]
    return output


def sentence(output):
    """Return the last line, where no traceback stands before."""
    assert 'Traceback' not in output
    return output.strip().splitlines()[-1]
