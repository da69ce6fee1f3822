"""Our own reader of ``torch.save``: equal to torch's on what it takes, and refusing the rest."""

from __future__ import annotations

import argparse
import io
import os
import pickle
import struct
import zipfile
from collections import OrderedDict

import pytest
import torch
from torch import nn

from wkd_det.runtime.plain_pickles import read_plain

ZIPPED = pytest.mark.parametrize('zipped', [True, False], ids=['zip', 'sequence'])
DTYPES = [
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32,
    torch.int16, torch.int8, torch.uint8, torch.bool, torch.complex64, torch.complex128,
]  # fmt: skip


def saved(folder, content, zipped=True):
    torch.save(content, folder / 'file.pth', _use_new_zipfile_serialization=zipped)
    return folder / 'file.pth'


def replaced(path, changes):
    """Write the archive anew, with the content of some entries changed."""
    target = path.with_name('changed.pth')
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(target, 'w') as copy:
        for name in source.namelist():
            data = source.read(name)
            for end, change in changes.items():
                data = change(data) if name.endswith(end) else data
            copy.writestr(name, data)
    return target


def sequence(*pickles, rest=b''):
    """The older format: a magic number, a version, the machine, then what follows."""
    head = (0x1950A86A20F9469CFC6C, 1001, dict(little_endian=True))
    return b''.join(pickle.dumps(part, 2) for part in head) + b''.join(pickles) + rest


# What is good


@ZIPPED
@pytest.mark.parametrize('dtype', DTYPES, ids=str)
def test_tensors_of_every_type(tmp_path, dtype, zipped):
    tensor = (torch.arange(12).view(3, 4) % 5).to(dtype)
    path = saved(tmp_path, dict(a=tensor, b=tensor[0, 0], c=tensor[:, :0], kind=dtype), zipped)
    read = read_plain(path, {})
    for name, value in dict(a=tensor, b=tensor[0, 0], c=tensor[:, :0]).items():
        assert read[name].dtype == dtype
        assert read[name].shape == value.shape
        assert torch.equal(read[name], value)
    assert read['kind'] == dtype


@ZIPPED
def test_views_share_their_memory(tmp_path, zipped):
    whole = torch.arange(24.0).view(4, 6)
    path = saved(tmp_path, [whole, whole[1:3, ::2], whole.t()], zipped)
    read = read_plain(path, {})
    assert torch.equal(read[1], whole[1:3, ::2])
    assert read[2].stride() == (1, 6)
    read[0][1, 0] = -1
    assert read[1][0, 0] == read[2][0, 1] == -1


@ZIPPED
def test_a_checkpoint_is_that_of_torch(tmp_path, zipped):
    module = nn.Sequential(OrderedDict(conv=nn.Conv2d(3, 4, 1), norm=nn.BatchNorm2d(4)))
    optimizer = torch.optim.Adam(module.parameters())
    module(torch.randn(2, 3, 4, 4)).sum().backward()
    optimizer.step()
    content = dict(
        state_dict=module.state_dict(), optimizer=optimizer.state_dict(), weight=module.conv.weight,
        size=torch.Size([2, 3]), device=torch.device('cpu'), names={'a', 'b'}, raw=b'\x00\xff',
        numbers=[1, -1, 300, 1 << 40, 1 << 80, 0.5, 2j, True, None], text='å' * 300, pair=(1, 'a'),
    )  # fmt: skip
    path = saved(tmp_path, content, zipped)
    read, reference = read_plain(path, {}), torch.load(path, weights_only=False)
    for key, value in reference['state_dict'].items():
        assert torch.equal(read['state_dict'][key], value)
    assert type(read['state_dict']) is OrderedDict
    assert read['state_dict']._metadata == reference['state_dict']._metadata
    assert type(read['weight']) is nn.Parameter
    assert read['weight'].requires_grad
    assert torch.equal(read['weight'], module.conv.weight)
    assert read['optimizer']['param_groups'] == reference['optimizer']['param_groups']
    step = read['optimizer']['state'][0]
    assert torch.equal(step['exp_avg'], reference['optimizer']['state'][0]['exp_avg'])
    for name in ('size', 'device', 'names', 'raw', 'numbers', 'text', 'pair'):
        assert read[name] == reference[name], name


def test_names_that_are_allowed(tmp_path):
    path = saved(tmp_path, argparse.Namespace(a=1))
    assert read_plain(path, {'argparse.Namespace': argparse.Namespace}).a == 1
    with pytest.raises(pickle.UnpicklingError, match='^Unsupported global: GLOBAL argparse.Names'):
        read_plain(path, {})


# What is not


def written(code):
    """An archive whose pickle is ``code``, instruction by instruction."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w') as archive:
        archive.writestr('archive/data.pkl', b'\x80\x02' + code + b'.')
    return buffer.getvalue()


@pytest.mark.parametrize(
    ('code', 'message'),
    [
        (b'cos\nsystem\n', 'GLOBAL posix.system|GLOBAL os.system'),
        (b'c__builtin__\neval\n', 'GLOBAL eval'),
        (b'ctorch\nload\n', 'GLOBAL torch.load'),
        (b'K\x01)R', 'calls or fills 1'),
        (b'K\x01)\x81', 'calls or fills 1'),
        (b'ccollections\nOrderedDict\n}b', "calls or fills <class 'type'>"),
        (b'ccollections\nOrderedDict\n)R)b', 'a state of tuple'),
        (b'c_codecs\nencode\n}b', 'calls or fills'),
        (b'ccollections\nOrderedDict\nK\x01a', 'fills a type'),
        (b'ccollections\nOrderedDict\n(K\x01e', 'fills a type'),
        (b'ccollections\nOrderedDict\nK\x01K\x02s', 'fills a type'),
        (b'ccollections\nOrderedDict\n(K\x01K\x02u', 'fills a type'),
        (b'c_codecs\nencode\nX\x01\x00\x00\x00aX\x03\x00\x00\x00hex\x86R', "encoding 'hex'"),
        (b'(ios\nsystem\n', 'unknown instruction 105'),
        (b'(cos\nsystem\no', 'GLOBAL posix.system|GLOBAL os.system'),
        (b'\x82\x01', 'unknown instruction 130'),  # the registry of extensions
        (b'\x97', 'unknown instruction 151'),
        (b'Pname\n', 'unknown instruction 80'),
        (b'K\x01Q', 'refers to more than storages'),
        (b'(X\x06\x00\x00\x00moduleK\x01K\x01K\x01K\x01tQ', 'refers to more than storages'),
        (b'(X\x07\x00\x00\x00storageccollections\nOrderedDict\nX\x01\x00\x00\x000NK\x01tQ', 'kind'),
        (b'ctorch._utils\n_rebuild_tensor_v2\n(K\x01K\x01))tR', 'a tensor without a storage'),
    ],
)  # fmt: skip
def test_pickles_that_ask_for_more(tmp_path, code, message):
    (tmp_path / 'file.pth').write_bytes(written(code))
    with pytest.raises(pickle.UnpicklingError, match=message):
        read_plain(tmp_path / 'file.pth', {})


def test_a_class_that_is_allowed_cannot_be_changed(tmp_path):
    allowed = {'argparse.Namespace': argparse.Namespace}
    code = b'cargparse\nNamespace\nN}X\x01\x00\x00\x00aK\x01s\x86b'
    (tmp_path / 'file.pth').write_bytes(written(code))
    with pytest.raises(pickle.UnpicklingError, match="calls or fills <class 'type'>"):
        read_plain(tmp_path / 'file.pth', allowed)
    assert not hasattr(argparse.Namespace, 'a')


@ZIPPED
@pytest.mark.parametrize(
    ('offset', 'size', 'stride'),
    [(0, (4,), (1,)), (1, (3,), (1,)), (0, (2, 2), (2, 1)), (-1, (1,), (1,)), (0, (2,), (-1,))],
)
def test_a_tensor_beyond_its_storage(tmp_path, offset, size, stride, zipped):
    class Tensor:
        def __init__(self, tensor):
            self.tensor = tensor

        def __reduce__(self):
            function, arguments = self.tensor.__reduce_ex__(2)
            return function, (arguments[0], offset, size, stride, *arguments[4:])

    path = saved(tmp_path, Tensor(torch.arange(3.0)), zipped)
    with pytest.raises(pickle.UnpicklingError, match='^a tensor beyond its storage of 3 numbers$'):
        read_plain(path, {})


def test_a_storage_that_is_shorter_than_it_says(tmp_path):
    changed = replaced(saved(tmp_path, torch.arange(3.0)), {'data/0': lambda data: data[:-4]})
    with pytest.raises(EOFError, match='^the file ends within a tensor$'):
        read_plain(changed, {})


def test_a_storage_larger_than_the_file_takes_no_memory(tmp_path):
    count = struct.pack('<i', 2**31 - 1)
    code = b'(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000NJ' + count + b'tQ'
    (tmp_path / 'file.pth').write_bytes(written(code))
    with pytest.raises(pickle.UnpicklingError, match='are more than the file holds'):
        read_plain(tmp_path / 'file.pth', {})


def test_files_of_other_kinds(tmp_path):
    path = tmp_path / 'file.pth'
    torch.jit.script(nn.ReLU()).save(str(path))
    with pytest.raises(pickle.UnpicklingError, match='a program of TorchScript'):
        read_plain(path, {})
    saved(tmp_path, torch.zeros(1000))
    with (
        zipfile.ZipFile(path) as source,
        zipfile.ZipFile(tmp_path / 'small.pth', 'w', zipfile.ZIP_DEFLATED) as copy,
    ):
        for name in source.namelist():
            copy.writestr(name, source.read(name))
    with pytest.raises(pickle.UnpicklingError, match='a compressed archive'):
        read_plain(tmp_path / 'small.pth', {})
    path.write_bytes(pickle.dumps(dict(a=1), 2))
    with pytest.raises(pickle.UnpicklingError, match='no file of torch.save'):
        read_plain(path, {})


def test_the_other_byte_order(tmp_path):
    path = saved(tmp_path, torch.zeros(1))
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(tmp_path / 'big.pth', 'w') as copy:
        for name in source.namelist():
            if not name.endswith('byteorder'):
                copy.writestr(name, source.read(name))
        copy.writestr(f'{name.partition("/")[0]}/byteorder', b'big')
    old = tmp_path / 'old.pth'
    old.write_bytes(sequence().replace(b'little_endianq\x01\x88', b'little_endianq\x01\x89'))
    for file in (tmp_path / 'big.pth', old):
        with pytest.raises(pickle.UnpicklingError, match='machine of the other byte order'):
            read_plain(file, {})


def test_the_older_format_checks_counts(tmp_path):
    path = saved(tmp_path, torch.arange(3.0), zipped=False)
    whole = path.read_bytes()
    at = whole.rindex(struct.pack('<q', 3))
    path.write_bytes(whole[:at] + struct.pack('<q', 2) + whole[at + 8 :])
    with pytest.raises(pickle.UnpicklingError, match='^the storage .* has 2 numbers$'):
        read_plain(path, {})
    path.write_bytes(whole[:-1])
    with pytest.raises(EOFError, match='ends within a tensor'):
        read_plain(path, {})


def test_hostile_objects_do_not_run(tmp_path):
    class Hostile:
        def __reduce__(self):
            return os.system, (f'touch {tmp_path}/marker',)

    for zipped in (True, False):
        with pytest.raises(pickle.UnpicklingError, match='GLOBAL (posix|nt).system'):
            read_plain(saved(tmp_path, dict(a=torch.ones(1), b=Hostile()), zipped), {})
    assert not (tmp_path / 'marker').exists()
