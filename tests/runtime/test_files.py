"""Files: whole or not at all, as JSON, and one tensor of ``torch.save``."""

from __future__ import annotations

import os

import pytest
import torch

from wkd_det.runtime.files import (
    read_json,
    read_saved,
    read_tensor,
    reason,
    write_json,
    write_together,
    write_whole,
)


@pytest.mark.parametrize('make', [str, lambda path: path], ids=['str', 'Path'])
@pytest.mark.parametrize(('content', 'read'), [(b'\xff\n', b'\xff\n'), ('å\n', b'\xc3\xa5\n')])
def test_bytes_and_text_come_back(tmp_path, make, content, read):
    path = tmp_path / 'new/folder/file'
    write_whole(make(path), content)
    assert path.read_bytes() == read
    assert list(path.parent.iterdir()) == [path]


def test_a_failing_write_leaves_all_files_as_they_were(tmp_path, monkeypatch):
    paths = [tmp_path / name for name in ('a', 'b')]
    paths[0].write_text('old')
    real, calls = os.fsync, []

    def fail_at_the_second(handle):
        calls.append(handle)
        if len(calls) == 2:
            raise OSError('disk full')
        real(handle)

    monkeypatch.setattr(os, 'fsync', fail_at_the_second)
    with pytest.raises(OSError, match='^disk full$'):
        write_together(dict.fromkeys(paths, 'new'))
    assert paths[0].read_text() == 'old'
    assert list(tmp_path.iterdir()) == paths[:1]  # no partial file either
    write_together(dict.fromkeys(paths, 'new'))
    assert [path.read_text() for path in paths] == ['new', 'new']
    assert sorted(tmp_path.iterdir()) == paths


def test_all_are_complete_before_the_first_takes_its_name(tmp_path, monkeypatch):
    real, seen = os.replace, []

    def replace(source, target):
        seen.append(sorted(path.name for path in tmp_path.iterdir()))
        real(source, target)

    monkeypatch.setattr(os, 'replace', replace)
    write_together({tmp_path / 'a': b'1', tmp_path / 'b': b'2'})
    assert seen == [['.a.partial', '.b.partial'], ['.b.partial', 'a']]


def test_json_comes_back(tmp_path):
    content = dict(a=[1, 2.5, None], b='å')
    write_json(tmp_path / 'new/a.json', content)
    assert (tmp_path / 'new/a.json').read_bytes().endswith(b'}\n')
    assert read_json(tmp_path / 'new/a.json') == content


def test_a_file_that_holds_one_tensor(tmp_path):
    torch.save(torch.arange(3.0), tmp_path / 'tensor.pth')
    assert torch.equal(read_tensor(tmp_path / 'tensor.pth'), torch.arange(3.0))
    torch.save(dict(a=1), tmp_path / 'other.pth')
    assert read_saved(tmp_path / 'other.pth') == dict(a=1)
    with pytest.raises(ValueError, match='holds a dict, not a tensor'):
        read_tensor(tmp_path / 'other.pth')


def test_the_reason_is_the_line_that_names_what_was_refused():
    text = '\n\n Weights only load failed.\n  Unsupported global: GLOBAL os.system\n more'
    assert reason(ValueError(text)) == 'Unsupported global: GLOBAL os.system'
    assert reason(ValueError('\n first\nsecond')) == 'first'
    assert reason(IndexError()) == 'IndexError'
    assert reason(ValueError('x' * 400)) == 'x' * 300
