"""Building an interrelation, looking at it and training with it, as a user does."""

from __future__ import annotations

import json
import resource
import sys

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

import build_interrelation as build_tool
import inspect_interrelation as inspect_tool
from commands import ROOT, free_port, run_apart
from make_mini_dataset import make_dataset
from mini_dataset.digits import CLASSES
from wkd_det.costs.build import METHODS
from wkd_det.costs.files import read_cost_file
from wkd_det.costs.interface import ClassTable
from wkd_det.costs.sources import FileCost
from wkd_det.testing import save_detector, tiny_faster_rcnn

NAMES = [*CLASSES, 'background']


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Data, a tiny detector with its checkpoint, and a grouping of its classes."""
    init_default_scope('mmdet')
    path = tmp_path_factory.mktemp('build')
    make_dataset(path / 'data', train=16, val=4, size=64, seed=0)
    config = Config.fromfile(ROOT / 'configs/mini/faster-rcnn_teacher.py')
    config.model = tiny_faster_rcnn(num_classes=10)
    for loader in (config.train_dataloader, config.val_dataloader, config.test_dataloader):
        loader.dataset.data_root = f'{path}/data/'
    config.dump(path / 'tiny.py')
    save_detector(config.model, path / 'tiny.pth', class_names=list(CLASSES))
    parity = {name: 'even' if index % 2 == 0 else 'odd' for index, name in enumerate(CLASSES)}
    (path / 'parity.json').write_text(json.dumps(parity))
    return path


def run(monkeypatch, tool, *arguments):
    monkeypatch.setattr(sys, 'argv', ['tool', *map(str, arguments)])
    tool.main()


def build(monkeypatch, folder, output, *options, checkpoint='tiny.pth', config='tiny.py'):
    run(
        monkeypatch, build_tool, folder / config, folder / checkpoint, '--output', output, *options
    )  # fmt: skip


@pytest.mark.parametrize('method', METHODS)
def test_every_method_same_seed_same_bytes(monkeypatch, folder, tmp_path, method):
    output = tmp_path / 'deep' / 'cost.safetensors'
    options = ['--method', method, '--min-per-class', 3]
    build(monkeypatch, folder, output, *options)
    if method in ('cka-linear', 'gaussian-full'):  # a sample and a stream
        before = output.read_bytes()
        build(monkeypatch, folder, output, '--force', *options)
        assert output.read_bytes() == before
    content = read_cost_file(output)
    assert content.class_names == NAMES
    assert content.metadata['method'] == method
    assert content.metadata['background'] is True
    assert content.metadata['config'] == 'tiny.py'
    assert content.distance.std() > 0


def test_report_and_progress(monkeypatch, folder, tmp_path, capsys):
    output = tmp_path / 'cost.safetensors'
    build(
        monkeypatch, folder, output, '--method', 'gaussian-diag', '--min-per-class', 2,
        '--grouping', folder / 'parity.json', '--report', tmp_path / 'report.json',
    )  # fmt: skip
    printed, progress = capsys.readouterr()
    assert '16/16' in progress
    assert 'gaussian-diag on penultimate of tiny.py, tiny.pth' in printed
    assert 'of the 5 nearest classes share the group (chance' in printed
    assert f'wrote {output}' in printed
    report = json.loads((tmp_path / 'report.json').read_text())
    assert report['class_names'] == NAMES
    assert set(report['nearest_classes']) == set(NAMES)
    assert {group['group'] for group in report['grouping']['per_group']} == {'even', 'odd'}


@pytest.mark.usefixtures('one_thread')
def test_two_processes_make_the_file_of_one(monkeypatch, folder, tmp_path):
    options = ['--method', 'cka-rbf', '--min-per-class', '3', '--max-per-class', '5']
    build(monkeypatch, folder, tmp_path / 'one.safetensors', *options)
    output = run_apart(
        '-m', 'torch.distributed.run', '--nproc_per_node', '2', '--master_port', free_port(),
        'tools/build_interrelation.py', folder / 'tiny.py', folder / 'tiny.pth', *options,
        '--output', tmp_path / 'two.safetensors', '--launcher', 'pytorch',
    )  # fmt: skip
    assert '8/8' in output
    one, two = (tmp_path / f'{name}.safetensors' for name in ('one', 'two'))
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.usefixtures('one_thread')
def test_another_number_of_threads_makes_it_to_rounding(monkeypatch, folder, tmp_path):
    found = []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        output = tmp_path / f'{threads}.safetensors'
        build(monkeypatch, folder, output, '--method', 'cka-rbf', '--min-per-class', '3')
        found.append(read_cost_file(output).distance)
    # Features of float32, of sums over some hundred values, decide on a distance of up to 1.
    torch.testing.assert_close(*found, rtol=0, atol=1e-4)


def test_a_loss_takes_the_file(monkeypatch, folder, tmp_path):
    output = tmp_path / 'cost.safetensors'
    build(monkeypatch, folder, output, '--method', 'cosine-centroid')

    names = ['three', 'background', 'zero']
    distance = FileCost(output)(ClassTable(count=3, names=names, rows=torch.zeros(3, 2).clone))
    whole = read_cost_file(output).distance
    assert torch.equal(distance, whole[[3, 10, 0]][:, [3, 10, 0]])


def test_file_is_compared_and_painted(monkeypatch, folder, tmp_path, capsys):
    first, second = tmp_path / 'a.safetensors', tmp_path / 'b.safetensors'
    build(monkeypatch, folder, first, '--method', 'cosine-centroid')
    build(monkeypatch, folder, second, '--method', 'cosine-centroid-centred', '--no-background')
    capsys.readouterr()
    run(
        monkeypatch, inspect_tool, first, '--compare', first, second, '--grouping',
        folder / 'parity.json', '--plots', tmp_path / 'plots', '--report', tmp_path / 'r.json',
    )  # fmt: skip
    printed = capsys.readouterr().out
    assert 'a.safetensors: Pearson 1.000, Spearman 1.000, ' in printed
    assert '1.000 (11 classes, matched by name)' in printed
    assert '(10 classes, matched by name)' in printed
    assert sorted(path.name for path in (tmp_path / 'plots').iterdir()) == [
        'a_dendrogram.png', 'a_heat_map.png', 'a_map.png',
    ]  # fmt: skip
    assert len(json.loads((tmp_path / 'r.json').read_text())['correlation']) == 2


def test_matrix_of_the_reference_without_names(monkeypatch, tmp_path, capsys):
    position = torch.arange(100.0)
    torch.save((position[:, None] - position).abs() / 100, tmp_path / 'cka.pth')
    run(monkeypatch, inspect_tool, tmp_path / 'cka.pth')
    assert '  0: 1, 2, 3, 4, 5' in capsys.readouterr().out
    run(
        monkeypatch, inspect_tool, tmp_path / 'cka.pth', '--class-names', 'cifar100',
        '--grouping', 'cifar100', '--neighbors', 2,
    )  # fmt: skip
    printed = capsys.readouterr().out
    assert '  apple: aquarium_fish, baby\n' in printed
    assert 'of the 2 nearest classes share the group (chance 4.0%' in printed


# Bad input: one sentence, nothing overwritten


def refused(monkeypatch, folder, output, *options, **files):
    before = output.read_bytes() if output.exists() else None
    with pytest.raises(SystemExit) as stop:
        build(monkeypatch, folder, output, *options, **files)
    assert (output.read_bytes() if output.exists() else None) == before
    assert [path for path in output.parent.iterdir() if path.name.endswith('.partial')] == []
    return str(stop.value)


def test_a_file_that_is_there_is_kept_unless_forced(monkeypatch, folder, tmp_path):
    output = tmp_path / 'cost.safetensors'
    output.write_bytes(b'precious')
    message = refused(monkeypatch, folder, output, '--method', 'cosine-centroid')
    assert message == f'error: {output} is there already: --force replaces it'
    build(monkeypatch, folder, output, '--method', 'cosine-centroid', '--force')
    assert read_cost_file(output).class_names == NAMES


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--method', 'cka-linear'], 'needs at least 2 examples of a class, got fewer of '),
        (['--method', 'cka-linear', '--stage', '1'], 'stage must lie in [0, 1)'),
        (['--method', 'cka-linear', '--max-per-class', '0'],
         'max_per_class must be an integer of at least 1, got 0'),
        (['--method', 'cka-linear', '--grouping', 'coco'], "nothing for the class 'zero'"),
        (['--method', 'cka-linear', '--split', 'val', '--cfg-options',
          'val_dataloader.dataset.ann_file=annotations/absent.json'], 'absent.json'),
        (['--method', 'cka-linear', '--split', 'val', '--cfg-options',
          'val_dataloader.dataset.ann_file=annotations/empty.json'], 'has no images'),
    ],
    ids=['one example', 'stage', 'maximum', 'grouping', 'no file', 'empty split'],
)  # fmt: skip
def test_mistakes_are_said_in_one_sentence(monkeypatch, folder, tmp_path, options, message):
    content = json.loads((folder / 'data/annotations/instances_val.json').read_text())
    # The first scene alone has classes of one example.
    first = content['images'][0]['id']
    one = [a for a in content['annotations'] if a['image_id'] == first]
    train = json.loads((folder / 'data/annotations/instances_train.json').read_text())
    kept = train['images'][:1]
    alone = [a for a in train['annotations'] if a['image_id'] == kept[0]['id']]
    assert one
    files = dict(
        empty=dict(content, images=[], annotations=[]),
        one=dict(train, images=kept, annotations=alone),
    )
    for name, what in files.items():
        (folder / f'data/annotations/{name}.json').write_text(json.dumps(what))
    if message.startswith('needs'):
        options = [
            *options, '--cfg-options', 'train_dataloader.dataset.ann_file=annotations/one.json',
        ]  # fmt: skip
    printed = refused(monkeypatch, folder, tmp_path / 'cost.safetensors', *options)
    assert printed.startswith('error: ')
    assert message in printed


def test_checkpoint_of_another_architecture(monkeypatch, folder, tmp_path):
    other = tiny_faster_rcnn(num_classes=10, base_channels=12)
    save_detector(other, folder / 'other.pth', class_names=list(CLASSES))
    printed = refused(
        monkeypatch, folder, tmp_path / 'cost.safetensors', '--method', 'cosine-classifier',
        checkpoint='other.pth',
    )  # fmt: skip
    assert 'other.pth does not fit FasterRCNN: backbone.conv1.weight' in printed


def test_features_that_do_not_vary(monkeypatch, folder, tmp_path):
    content = torch.load(folder / 'tiny.pth', weights_only=True)
    for key in content['state_dict']:
        if 'shared_fcs.1' in key:
            content['state_dict'][key].zero_()
    torch.save(content, folder / 'dead.pth')
    for method in ('cka-linear', 'gaussian-full', 'cosine-centroid'):
        printed = refused(
            monkeypatch, folder, tmp_path / 'cost.safetensors', '--method', method,
            '--min-per-class', 2, checkpoint='dead.pth',
        )  # fmt: skip
        assert 'class zero' in printed or 'class one' in printed


def test_disk_that_is_full(monkeypatch, folder, tmp_path):
    output = tmp_path / 'cost.safetensors'
    build(monkeypatch, folder, output, '--method', 'cosine-classifier')
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200, hard))
        printed = refused(
            monkeypatch, folder, output, '--method', 'cosine-classifier-centred', '--force'
        )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert printed.startswith('error: ')
    assert 'File too large' in printed
    assert read_cost_file(output).metadata['method'] == 'cosine-classifier'


def test_interrupted(monkeypatch, folder, tmp_path):
    output = tmp_path / 'cost.safetensors'
    output.write_bytes(b'precious')

    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr('wkd_det.costs.statistics.ClassMoments.add', interrupt)
    printed = refused(monkeypatch, folder, output, '--method', 'cosine-centroid', '--force')
    assert printed == f'interrupted: {output} was not written'
