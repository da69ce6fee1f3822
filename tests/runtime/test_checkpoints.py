"""Checkpoints: read without running anything, from files, addresses and libraries."""

from __future__ import annotations

import _codecs
import argparse
import functools
import io
import os
import random
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import timm
import torch
import torchvision
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.runner.checkpoint import load_from_local, save_checkpoint
from safetensors.torch import save_file
from torch import nn

from wkd_det.runtime import checkpoints, files
from wkd_det.runtime.checkpoints import (
    allow_mmengine_checkpoints,
    is_first_of_machine,
    read_checkpoint,
)
from wkd_det.runtime.files import read_tensor
from wkd_det.runtime.state import weights_of

needs_allow_list = pytest.mark.skipif(
    not files.TORCH_READS_SAFELY, reason='torch has no list that names could be added to'
)


@pytest.fixture(params=[pytest.param('torch', marks=needs_allow_list), 'own'], autouse=True)
def reader(request, monkeypatch):
    """Torch's reader, and our own, which stands in before torch 2.6."""
    monkeypatch.setattr(files, 'TORCH_READS_SAFELY', request.param == 'torch')
    return request.param


class Call:
    """Pickles as a call of ``function``, whose result then takes ``state``."""

    def __init__(self, function, *arguments, state=None):
        self.reduced = (function, arguments) + (() if state is None else (state,))

    def __reduce__(self):
        return self.reduced


def network():
    return nn.Sequential(OrderedDict(conv=nn.Conv2d(3, 4, 1), norm=nn.BatchNorm2d(4)))


def mmengine_checkpoint(path):
    """What a runner writes while it trains: log, optimizer, scheduler, meta."""
    module = network()
    optimizer = torch.optim.SGD(module.parameters(), 0.1, momentum=0.9)
    module(torch.randn(2, 3, 4, 4)).sum().backward()
    optimizer.step()
    hub = MessageHub('checkpoint test')
    for step in range(3):
        hub.update_scalar('train/loss', 1.0 / (step + 1))
        hub.update_scalar('train/time', np.float64(0.5))
    hub.update_info('epoch', 3)
    hub.update_info('iter', np.int64(7))
    save_checkpoint(
        dict(
            meta=dict(epoch=3, seed=np.int64(0), dataset_meta=dict(classes=('ant', 'bee'))),
            state_dict=module.state_dict(),
            message_hub=hub.state_dict(),
            optimizer=optimizer.state_dict(),
            param_schedulers=[dict(last_step=3, factor=np.float64(0.1))],
        ),
        str(path),
    )
    return module


@pytest.fixture
def safe_globals():
    """Torch's list as it was, whatever a test does to it."""
    known = torch.serialization.get_safe_globals()
    yield
    torch.serialization.clear_safe_globals()
    torch.serialization.add_safe_globals(known)


# Reading what is good


@pytest.mark.parametrize('zipped', [True, False])
@pytest.mark.parametrize('as_string', [True, False])
def test_weights_come_back(tmp_path, zipped, as_string):
    path = tmp_path / 'weights.pth'
    written = network().state_dict()
    torch.save(dict(state_dict=written), path, _use_new_zipfile_serialization=zipped)
    read = read_checkpoint(str(path) if as_string else path)['state_dict']
    assert list(read) == list(written)
    for key, value in written.items():
        assert read[key].dtype == value.dtype
        assert torch.equal(read[key], value), key


def test_training_checkpoint_of_mmengine(tmp_path):
    module = mmengine_checkpoint(tmp_path / 'iter_7.pth')
    content = read_checkpoint(tmp_path / 'iter_7.pth')
    for key, value in module.state_dict().items():
        assert torch.equal(content['state_dict'][key], value)
    log = content['message_hub']['log_scalars']['train/loss']
    assert isinstance(log, HistoryBuffer)
    assert log.data[0].tolist() == [1.0, 0.5, 1 / 3]
    assert log.min() == 1 / 3
    assert content['message_hub']['runtime_info']['iter'] == 7
    assert content['optimizer']['param_groups'][0]['momentum'] == 0.9
    assert content['meta']['dataset_meta']['classes'] == ('ant', 'bee')


def test_training_checkpoint_written_with_the_other_numpy(tmp_path):
    """numpy 1 and 2 pickle under different names of the same module."""
    mmengine_checkpoint(tmp_path / 'iter_7.pth')
    names = [b'numpy._core.', b'numpy.core.']
    own, other = names if '_core' in np.zeros(1).__reduce__()[0].__module__ else names[::-1]
    found = 0
    with (
        zipfile.ZipFile(tmp_path / 'iter_7.pth') as source,
        zipfile.ZipFile(tmp_path / 'other.pth', 'w') as copy,
    ):
        for name in source.namelist():
            data = source.read(name)
            if name.endswith('data.pkl'):
                found += data.count(own)
                data = data.replace(own, other)
            copy.writestr(name, data)
    assert found > 0
    log = read_checkpoint(tmp_path / 'other.pth')['message_hub']['log_scalars']['train/loss']
    assert log.data[0].tolist() == [1.0, 0.5, 1 / 3]


def cleared():
    torch.serialization.clear_safe_globals()


def entered_and_left(*others):
    with torch.serialization.safe_globals([HistoryBuffer, argparse.Namespace, *others]):
        pass


def all_of_ours_left():
    with torch.serialization.safe_globals(torch.serialization.get_safe_globals()):
        pass


def loader_of_mmengine(path):
    """That of OneDL lists names, loads and takes them off the list again; upstream's only loads."""
    load_from_local(str(path), 'cpu')


@needs_allow_list
@pytest.mark.usefixtures('safe_globals')
@pytest.mark.parametrize(
    'disturb',
    [
        lambda path: cleared(),
        lambda path: entered_and_left(),
        lambda path: entered_and_left(np.ndarray, np.dtype, type(np.dtype('f8'))),
        lambda path: all_of_ours_left(),
        loader_of_mmengine,
    ],
    ids=['cleared', 'left', 'more was left', 'ours was left', 'mmengine'],
)
def test_whatever_others_do_with_the_list_of_torch(tmp_path, disturb):
    module = mmengine_checkpoint(tmp_path / 'iter_7.pth')
    for _ in range(2):
        disturb(tmp_path / 'iter_7.pth')
        content = read_checkpoint(tmp_path / 'iter_7.pth')
        assert isinstance(content['message_hub']['log_scalars']['train/loss'], HistoryBuffer)
        assert torch.equal(content['state_dict']['conv.weight'], module.conv.weight)


@needs_allow_list
@pytest.mark.usefixtures('safe_globals')
def test_resuming_as_mmengine_calls_it(tmp_path):
    mmengine_checkpoint(tmp_path / 'iter_7.pth')
    torch.serialization.clear_safe_globals()
    allow_mmengine_checkpoints()
    resumed = torch.load(tmp_path / 'iter_7.pth', map_location='cpu')
    assert resumed.keys() == read_checkpoint(tmp_path / 'iter_7.pth').keys()


@needs_allow_list
@pytest.mark.usefixtures('safe_globals')
def test_within_the_list_of_others(tmp_path):
    mmengine_checkpoint(tmp_path / 'iter_7.pth')
    outer = torch.serialization.safe_globals([HistoryBuffer])
    with outer, torch.serialization.safe_globals([argparse.Namespace, HistoryBuffer]):
        read_checkpoint(tmp_path / 'iter_7.pth')
    read_checkpoint(tmp_path / 'iter_7.pth')


@needs_allow_list
@pytest.mark.usefixtures('safe_globals')
def test_the_list_holds_what_checkpoints_may_hold_and_no_more():
    torch.serialization.clear_safe_globals()
    for _ in range(2):
        allow_mmengine_checkpoints()
        listed = {name: known for known, name in torch.serialization.get_safe_globals()}
        assert listed == checkpoints.allowed_in_checkpoints()
    kinds = {name for name in listed if name.startswith('numpy.dtypes.')}
    multiarray = {
        f'numpy.{core}.multiarray.{function}'
        for core in ('core', '_core')
        for function in ('_reconstruct', 'scalar')
    }
    assert len(kinds) == 6
    assert set(listed) - kinds - multiarray == {
        'argparse.Namespace', 'builtins.getattr', 'mmengine.logging.history_buffer.HistoryBuffer',
        'ndarray', 'numpy.dtype', 'numpy.ndarray',
    }  # fmt: skip


@pytest.mark.parametrize('zipped', [True, False])
def test_arguments_of_a_command_line_are_plain_data(tmp_path, zipped):
    inner = argparse.Namespace(lr=0.1, names=['a'], schedule=dict(milestones=[3]))
    content = dict(model=network().state_dict(), args=argparse.Namespace(inner=inner), epoch=3)
    torch.save(content, tmp_path / 'run.pth', _use_new_zipfile_serialization=zipped)
    read = read_checkpoint(tmp_path / 'run.pth')
    assert vars(read['args'].inner) == vars(inner)
    assert set(weights_of(read)) == set(content['model'])


@pytest.mark.parametrize(
    'hostile', [Call(os.system, 'touch MARKER'), Call(eval, "open('MARKER', 'w')")]
)
def test_arguments_that_hold_code_are_refused(tmp_path, monkeypatch, hostile):
    monkeypatch.chdir(tmp_path)
    torch.save(dict(args=argparse.Namespace(a=hostile)), tmp_path / 'run.pth')
    with pytest.raises(ValueError, match='run.pth was refused: '):
        read_checkpoint(tmp_path / 'run.pth')
    assert not (tmp_path / 'MARKER').exists()


def test_the_refusal_says_what_it_asks_for_and_how_to_write_weights(tmp_path):
    torch.save(dict(state_dict={}, args=Call(functools.partial, print)), tmp_path / 'run.pth')
    message = (
        f'^{tmp_path}/run.pth was refused: it is damaged or holds more than weights, and reading '
        r'it might run code. It asks for functools.partial. Where it was trained, '
        r'torch.save\(model.state_dict\(\), PATH\) writes the weights alone$'
    )
    with pytest.raises(ValueError, match=message):
        read_checkpoint(tmp_path / 'run.pth')


@pytest.mark.parametrize('name', ['model.safetensors', 'f00d'])  # caches of hubs name by hash
@pytest.mark.parametrize('metadata', [None, dict(format='pt')])
def test_safetensors(tmp_path, name, metadata):
    state = {key: value.contiguous() for key, value in network().state_dict().items()}
    save_file(state, tmp_path / name, metadata)
    weights = weights_of(read_checkpoint(tmp_path / name))
    assert set(weights) == set(state)
    assert all(torch.equal(weights[key], value) for key, value in state.items())


@pytest.mark.parametrize('cut', [4, 30, -5])
def test_damaged_safetensors(tmp_path, cut):
    save_file(dict(a=torch.ones(8)), tmp_path / 'a.safetensors')
    data = (tmp_path / 'a.safetensors').read_bytes()
    (tmp_path / 'a.safetensors').write_bytes(data[:cut])
    message = f'^{tmp_path}/a.safetensors is a damaged file of safetensors: '
    with pytest.raises(ValueError, match=message):
        read_checkpoint(tmp_path / 'a.safetensors')


def test_home_folder_is_understood(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    torch.save(dict(a=torch.ones(2)), tmp_path / 'home.pth')
    assert torch.equal(read_checkpoint('~/home.pth')['a'], torch.ones(2))


@pytest.fixture
def served(tmp_path, monkeypatch):
    """Addresses that were fetched; each serves weights of its own, and a full disk fails."""
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    fetched = []

    def download(address, path):
        fetched.append(address)
        if 'absent' in address:
            raise OSError('HTTP Error 404: Not Found')
        torch.save(dict(a=torch.tensor(len(fetched))), path)

    monkeypatch.setattr(torch.hub, 'download_url_to_file', download)
    return fetched


def test_an_address_is_fetched_once(served, tmp_path):
    address = 'https://example.com/models/remote.pth'
    for _ in range(2):
        assert read_checkpoint(address)['a'] == 1
    assert served == [address]
    assert len(list(tmp_path.glob('hub/checkpoints/*/remote.pth'))) == 1


def test_addresses_that_end_in_the_same_name_are_different_files(served):
    one, other = (f'https://example.com/{run}/epoch_12.pth' for run in ('one', 'other'))
    assert [read_checkpoint(address)['a'] for address in (one, other, one)] == [1, 2, 1]
    assert served == [one, other]


def test_a_process_that_has_not_met_the_others_fetches_by_itself(served, monkeypatch):
    monkeypatch.setenv('LOCAL_RANK', '1')
    assert read_checkpoint('https://example.com/remote.pth')['a'] == 1


@pytest.mark.parametrize(
    ('hosts', 'locals_', 'fetching'),
    [
        ('aabb', [0, 1, 0, 1], [0, 2]),  # torchrun, slurm
        ('aabb', [None] * 4, [0, 2]),  # mpi says no local rank
        ('abab', [None] * 4, [0, 1]),  # dealt out in turn
        ('aaaa', [None] * 4, [0]),
        ('aaaa', [0, 1, 0, 1], [0, 2]),  # containers of one name: the launcher knows
    ],
)
def test_one_process_of_each_machine_fetches(monkeypatch, hosts, locals_, fetching):
    said = list(zip(hosts, locals_))
    monkeypatch.setattr(checkpoints, 'is_distributed', lambda: True)
    found = []
    for rank, (host, local) in enumerate(said):

        def gathered(own, expected=said[rank]):
            assert own == (expected[0], None if expected[1] is None else str(expected[1]))
            return said

        monkeypatch.delenv('LOCAL_RANK', raising=False)
        if local is not None:
            monkeypatch.setenv('LOCAL_RANK', str(local))
        monkeypatch.setattr(checkpoints.socket, 'gethostname', lambda host=host: host)
        monkeypatch.setattr(checkpoints, 'get_rank', lambda rank=rank: rank)
        monkeypatch.setattr(checkpoints, 'all_gather_object', gathered)
        found += [rank] if is_first_of_machine() else []
    assert found == fetching


def test_a_failed_download_is_one_sentence_and_leaves_nothing(served, tmp_path):
    with pytest.raises(
        ConnectionError, match='absent.pth could not be downloaded: HTTP Error 404: Not Found'
    ):
        read_checkpoint('https://example.com/absent.pth')
    assert not list(tmp_path.rglob('absent.pth'))


# Weights of torchvision and timm: which file, without fetching one


@pytest.mark.parametrize(
    ('source', 'weights'),
    [
        ('resnet18', torchvision.models.ResNet18_Weights.DEFAULT),
        ('ResNet34_Weights.IMAGENET1K_V1', torchvision.models.ResNet34_Weights.IMAGENET1K_V1),
        ('ResNet50_Weights.IMAGENET1K_V1', torchvision.models.ResNet50_Weights.IMAGENET1K_V1),
    ],
)
def test_torchvision(source, weights, tmp_path, monkeypatch):
    asked = []

    def download(address):
        asked.append(address)
        torch.save(dict(bias=torch.ones(2)), tmp_path / 'file.pth')
        return tmp_path / 'file.pth'

    monkeypatch.setattr(checkpoints, '_download', download)
    assert torch.equal(read_checkpoint(f'torchvision://{source}')['bias'], torch.ones(2))
    assert asked == [weights.url]


def test_timm(monkeypatch):
    real, asked = timm.create_model, []

    @functools.wraps(real)
    def create(name, pretrained):
        asked.append((name, pretrained))
        return real(name, pretrained=False)

    monkeypatch.setattr(timm, 'create_model', create)
    state = read_checkpoint('timm://resnet18.a1_in1k')
    assert asked == [('resnet18.a1_in1k', True)]
    assert list(state) == list(real('resnet18').state_dict())


@pytest.mark.parametrize(
    'source', ['torchvision://resnet19', 'torchvision://ResNet18_Weights.V9', 'timm://resnet19']
)
def test_unknown_names(source):
    with pytest.raises(ValueError, match='has no weights'):
        read_checkpoint(source)


# Refusing what is not


def malicious(marker):
    """Objects that would create the file ``marker`` if they were run, by several routes."""
    marker = str(marker)
    return {
        'system': Call(os.system, f'touch {marker}'),
        'open': Call(open, marker, 'w'),
        'eval': Call(eval, f'open({marker!r}, "w").close()'),
        'getattr': Call(getattr, bytes, 'fromhex'),
        'getattr of another class': Call(getattr, torch.Tensor, 'min'),
        'getattr of the allowed class': Call(getattr, HistoryBuffer, '__init__'),
        'module': Call(__import__, 'os'),
        'partial': Call(__import__('functools').partial, os.system, f'touch {marker}'),
        'state': Call(HistoryBuffer, state=Call(os.system, f'touch {marker}')),
    }


@pytest.mark.parametrize('zipped', [True, False])
@pytest.mark.parametrize('route', sorted(malicious('x')))
def test_malicious_pickles_are_refused_and_nothing_runs(tmp_path, route, zipped):
    marker, path = tmp_path / 'marker', tmp_path / 'evil.pth'
    content = dict(state_dict=dict(a=torch.ones(2)), extra=malicious(marker)[route])
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    for read in (read_checkpoint, read_tensor):
        with pytest.raises(ValueError, match='evil.pth (was refused|is damaged or no checkpoint)'):
            read(path)
    assert not marker.exists()


def test_the_message_names_what_was_refused(tmp_path):
    torch.save(dict(a=Call(os.system, 'true')), tmp_path / 'evil.pth')
    with pytest.raises(ValueError, match='might run code.*posix.*system|might run code.*nt.system'):
        read_checkpoint(tmp_path / 'evil.pth')


def test_the_message_does_not_advise_to_switch_the_safety_off(tmp_path):
    (tmp_path / 'pointer.pth').write_bytes(b'version https://git-lfs.github.com/spec/v1\n')
    with pytest.raises(ValueError, match='pointer.pth was refused') as error:
        read_checkpoint(tmp_path / 'pointer.pth')
    assert 'weights_only' not in str(error.value)


@pytest.mark.parametrize('kind', ['O', Call(np.dtype, 'O')], ids=['code', 'type'])
def test_numpy_arrays_of_forged_pointers_are_refused(tmp_path, kind):
    """``numpy.ndarray`` takes bytes for objects; copying such an array crashes or worse."""
    pointer = Call(_codecs.encode, 'A' * 8, 'latin1')
    torch.save(dict(a=Call(np.ndarray, (1,), kind, pointer)), tmp_path / 'forged.pth')
    with pytest.raises(ValueError, match='a checkpoint asks'):
        read_checkpoint(tmp_path / 'forged.pth')


@pytest.mark.parametrize(
    'kind', ['O', 'V8', 'U3', 'S3', 'M8[s]', [('a', 'O')], '3f8'], ids=lambda kind: str(kind)
)
def test_numpy_data_other_than_numbers_is_refused(tmp_path, kind):
    torch.save(dict(a=Call(np.dtype, kind)), tmp_path / 'odd.pth')
    with pytest.raises(ValueError, match='a checkpoint asks for numpy data of type'):
        read_checkpoint(tmp_path / 'odd.pth')


@pytest.mark.parametrize(
    ('fields', 'names', 'flags'),
    [({'a': (np.dtype('f8'), 10**7)}, ('a',), 0), (None, None, 0x3F)],
    ids=['a field beyond the data', 'numbers that claim to be pointers'],
)
def test_forged_state_of_a_dtype_changes_nothing(tmp_path, fields, names, flags):
    forged = Call(np.dtype, 'f8', False, True, state=(3, '<', None, names, fields, -1, -1, flags))
    rebuild, arguments, _ = np.zeros(1).__reduce__()
    array = Call(rebuild, *arguments, state=(1, (3,), forged, False, b'\0' * 24))
    torch.save(dict(a=array, kind=forged), tmp_path / 'forged.pth')
    content = read_checkpoint(tmp_path / 'forged.pth')
    for kind in (content['a'].dtype, content['kind']):
        assert kind == np.dtype('f8')
        assert kind.fields is None
        assert not kind.hasobject
    assert content['a'].tolist() == [0, 0, 0]
    assert np.dtype('f8').fields is None


@pytest.mark.parametrize('kind', ['f4', 'f8', 'i4', 'i8', '?'])
def test_numbers_of_numpy_are_read(tmp_path, kind):
    array = np.array([[0, 1], [2, 3]]).astype(kind)
    torch.save(dict(array=array, scalar=array[1, 1]), tmp_path / 'numbers.pth')
    content = read_checkpoint(tmp_path / 'numbers.pth')
    assert content['array'].dtype == array.dtype
    assert content['array'].tolist() == array.tolist()
    assert content['scalar'] == array[1, 1]


def test_no_such_file(tmp_path):
    with pytest.raises(FileNotFoundError, match='checkpoint not found: .*absent.pth .from '):
        read_checkpoint(tmp_path / 'absent.pth')
    with pytest.raises(FileNotFoundError, match='checkpoint not found'):
        read_checkpoint(tmp_path)  # a folder


def test_empty_file(tmp_path):
    (tmp_path / 'empty.pth').touch()
    with pytest.raises(ValueError, match='empty.pth is empty'):
        read_checkpoint(tmp_path / 'empty.pth')


@pytest.mark.parametrize(
    'page',
    [
        b'<!DOCTYPE html><html><body>Quota exceeded</body></html>',
        b'\n  <html lang="en"></html>',
        b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>',
        b'{"message": "Not Found"}',
    ],
)
def test_a_page_instead_of_a_file(tmp_path, page):
    (tmp_path / 'page.pth').write_bytes(page)
    with pytest.raises(ValueError, match='is a text page, not a checkpoint: the download'):
        read_checkpoint(tmp_path / 'page.pth')


def saved_bytes(content, zipped):
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


@pytest.mark.parametrize('zipped', [True, False])
def test_a_file_cut_anywhere_is_one_clear_error(tmp_path, zipped):
    whole = saved_bytes(dict(state_dict=network().state_dict(), meta=dict(epoch=1)), zipped)
    path = tmp_path / 'cut.pth'
    for length in range(1, len(whole), max(1, len(whole) // 80)):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match='cut.pth (is damaged or no checkpoint|was refused)'):
            read_checkpoint(path)


@pytest.mark.filterwarnings('ignore:Detected pickle protocol')
def test_random_bytes_and_flipped_ones_give_no_other_error(tmp_path):
    numbers = random.Random(0)
    path = tmp_path / 'noise.pth'
    whole = saved_bytes(dict(state_dict=network().state_dict()), zipped=False)
    refused = 0
    for round_ in range(300):
        data = bytearray(whole if round_ % 2 else numbers.randbytes(numbers.randint(1, 60)))
        data[numbers.randrange(len(data))] = numbers.randrange(256)
        path.write_bytes(data)
        try:
            read_checkpoint(path)
        except ValueError:
            refused += 1
    assert refused > 100  # a flipped weight is still a checkpoint


@pytest.mark.parametrize('content', [torch.ones(2), [torch.ones(2)], 3, None])
def test_something_else_than_a_dict(tmp_path, content):
    torch.save(content, tmp_path / 'other.pth')
    with pytest.raises(ValueError, match=f'holds a {type(content).__name__}, not a dict'):
        read_checkpoint(tmp_path / 'other.pth')
