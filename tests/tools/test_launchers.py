"""The shell scripts that start several processes, without starting any."""

import os
import subprocess
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[2] / 'tools'


def launch(tmp_path, script, *arguments, program, **environment):
    """Run a script where ``program`` only says how it was called."""
    stub = tmp_path / program
    stub.write_text('#!/usr/bin/env bash\nprintf "%s\\n" "$@"\n')
    stub.chmod(0o755)
    names = ('GPUS', 'GPUS_PER_NODE', 'CPUS_PER_TASK', 'SRUN_ARGS', 'NNODES', 'NODE_RANK', 'PORT')
    inherited = {name: value for name, value in os.environ.items() if name not in names}
    return subprocess.run(
        ['bash', str(TOOLS / script), *arguments],
        env=dict(inherited, PATH=f'{tmp_path}:{os.environ["PATH"]}', **environment),
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize('program', ['train', 'test'])
def test_slurm_starts_a_process_a_gpu(tmp_path, program):
    done = launch(
        tmp_path, f'slurm_{program}.sh', 'part', 'a job', 'my config.py', 'there', '--resume',
        '--cfg-options', 'a=[1, 2]',
        program='srun', GPUS='16', GPUS_PER_NODE='4', SRUN_ARGS='--exclusive --qos=high',
        PYTHON='python3.9',
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    place = ['--work-dir', 'there'] if program == 'train' else ['there']
    assert done.stdout.splitlines() == [
        '--partition=part', '--job-name=a job', '--ntasks=16', '--ntasks-per-node=4',
        '--gres=gpu:4', '--cpus-per-task=5', '--kill-on-bad-exit=1', '--exclusive', '--qos=high',
        'python3.9', '-u', str(TOOLS / f'{program}.py'), 'my config.py', *place,
        '--launcher', 'slurm', '--resume', '--cfg-options', 'a=[1, 2]',
    ]  # fmt: skip


def test_several_nodes_meet_at_the_first(tmp_path):
    done = launch(
        tmp_path, 'dist_train.sh', 'my config.py', '8', '--amp',
        program='interpreter', PYTHON='interpreter',
        NNODES='2', NODE_RANK='1', MASTER_ADDR='node0', PORT='29501',
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        '-m', 'torch.distributed.run', '--nnodes=2', '--node_rank=1', '--master_addr=node0',
        '--master_port=29501', '--nproc_per_node=8', str(TOOLS / 'train.py'), 'my config.py',
        '--launcher', 'pytorch', '--amp',
    ]  # fmt: skip


@pytest.mark.parametrize(
    ('script', 'arguments'),
    [
        ('dist_train.sh', 'CONFIG PROCESSES'),
        ('dist_test.sh', 'CONFIG CHECKPOINT PROCESSES'),
        ('slurm_train.sh', 'PARTITION JOB_NAME CONFIG WORK_DIR'),
        ('slurm_test.sh', 'PARTITION JOB_NAME CONFIG CHECKPOINT'),
    ],
)
def test_they_say_how_to_call_them(tmp_path, script, arguments):
    done = launch(tmp_path, script, 'one', program='srun')
    assert done.returncode == 2
    assert f'{script} {arguments}' in done.stderr
