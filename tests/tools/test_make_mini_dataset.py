"""The mini data set: real digits, COCO format, the same bytes for the same options."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import make_mini_dataset as tool
from commands import HANGS
from dataset_folder import DatasetError, read_manifest
from mini_dataset.digits import INK, crop_to, enlarge_ink, load_sources, split_samples
from mini_dataset.scenes import MAX_OVERLAP, Box, blend, cut_fragment, draw_scenes, overlap

OPTIONS = dict(train=12, val=5, size=96, seed=0)


def read_files(root: Path) -> dict[str, bytes]:
    """Content of every file below ``root``, by relative path."""
    files = (path for path in root.rglob('*') if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def read_annotations(root: Path, split: str) -> dict:
    return json.loads((root / 'annotations' / f'instances_{split}.json').read_text())


@pytest.fixture(scope='module')
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small finished data set; tests must not change it."""
    output = tmp_path_factory.mktemp('mini') / 'digits'
    tool.make_dataset(output, **OPTIONS)
    return output


@pytest.fixture
def fresh(tmp_path: Path) -> Callable[..., Path]:
    """Makes a data set of the smallest size, for tests that do change it."""

    def make(**options: int) -> Path:
        tool.make_dataset(tmp_path / 'digits', **(dict(OPTIONS, train=1, val=1) | options))
        return tmp_path / 'digits'

    return make


def test_same_options_give_the_same_bytes(dataset: Path, tmp_path: Path) -> None:
    tool.make_dataset(tmp_path / 'again', **OPTIONS)
    first, second = read_files(dataset), read_files(tmp_path / 'again')
    assert len(first) == 12 + 5 + 2 + 1
    assert first == second


def test_another_seed_gives_other_scenes_and_another_split(dataset: Path, tmp_path: Path) -> None:
    tool.make_dataset(tmp_path / 'other', **dict(OPTIONS, seed=1))
    first, second = read_files(dataset), read_files(tmp_path / 'other')
    assert not [name for name in first if name.endswith('.png') and first[name] == second[name]]
    sources = load_sources(seed=0), load_sources(seed=1)
    assert not np.array_equal(sources[0]['val'].indices, sources[1]['val'].indices)


def test_a_longer_set_begins_with_the_shorter_one(dataset: Path, tmp_path: Path) -> None:
    tool.make_dataset(tmp_path / 'longer', **dict(OPTIONS, train=14))
    shorter, longer = read_files(dataset), read_files(tmp_path / 'longer')
    images = [name for name in shorter if name.endswith('.png')]
    assert all(longer[name] == shorter[name] for name in images)


def test_splits_are_disjoint_and_hold_every_class() -> None:
    sources = load_sources(seed=0)
    train, val = sources['train'], sources['val']
    assert not set(train.indices) & set(val.indices)
    assert len(train.indices) + len(val.indices) == 1797
    for source in (train, val):
        assert np.bincount(source.labels, minlength=10).min() >= 40


def test_the_split_is_per_class() -> None:
    labels = np.repeat([0, 1], [100, 20])
    train, val = split_samples(labels, seed=3)
    assert np.bincount(labels[val]).tolist() == [25, 5]
    assert np.array_equal(np.sort(np.concatenate([train, val])), np.arange(120))


def test_written_digits_come_from_their_own_split(dataset: Path) -> None:
    sources = load_sources(seed=0)
    for split, source in sources.items():
        label = dict(zip(source.indices.tolist(), source.labels.tolist()))
        for annotation in read_annotations(dataset, split)['annotations']:
            assert annotation['category_id'] == label[annotation['sample']] + 1


def test_pycocotools_reads_it(dataset: Path) -> None:
    from pycocotools.coco import COCO

    for split, count in (('train', 12), ('val', 5)):
        coco = COCO(str(dataset / 'annotations' / f'instances_{split}.json'))
        assert len(coco.imgs) == count
        assert {category: content['name'] for category, content in coco.cats.items()} == {
            1: 'zero', 2: 'one', 3: 'two', 4: 'three', 5: 'four',
            6: 'five', 7: 'six', 8: 'seven', 9: 'eight', 10: 'nine',
        }  # fmt: skip
        for image_id, image in coco.imgs.items():
            with Image.open(dataset / split / image['file_name']) as opened:
                assert (opened.mode, opened.size) == ('RGB', (96, 96))
                assert opened.size == (image['width'], image['height'])
            assert 1 <= len(coco.getAnnIds(imgIds=[image_id])) <= 6


def test_boxes_lie_inside_and_overlap_little() -> None:
    source = load_sources(seed=0)['train']
    scenes = list(draw_scenes(source, split='train', count=60, size=96, seed=0))
    sides, crowded = [], 0
    for _, digits in scenes:
        boxes = [digit.box for digit in digits]
        for box in boxes:
            assert box.w >= 3
            assert box.h >= 3
            assert box.x >= 0
            assert box.y >= 0
            assert box.x + box.w <= 96
            assert box.y + box.h <= 96
            sides.append(max(box.w, box.h))
        for index, box in enumerate(boxes):
            for other in boxes[:index]:
                crowded += 1
                assert overlap(box, other) <= MAX_OVERLAP
    assert crowded > 100  # the loop above did compare boxes
    # "About" 18 to 40: the edge of the ink falls up to a tenth beside the asked side.
    assert 16 <= min(sides) <= 20
    assert 36 <= max(sides) <= 44


@pytest.mark.parametrize('side', [14, 27, 40])
def test_boxes_are_tight_to_the_ink(side: int) -> None:
    for ink in load_sources(seed=0)['val'].ink[:40]:
        visible = enlarge_ink(ink, side) >= INK
        assert all(border.any() for border in (visible[0], visible[-1]))
        assert all(border.any() for border in (visible[:, 0], visible[:, -1]))


def test_a_digit_stands_out_where_its_box_says() -> None:
    canvas = np.full((96, 96, 3), 128.0)
    ink = load_sources(seed=0)['val'].ink[0]
    opacity = enlarge_ink(ink, 30)
    height, width = opacity.shape
    blend(np.random.default_rng(0), canvas, opacity, Box(20, 40, width, height))
    changed = np.abs(canvas.mean(-1) - 128) > 10
    rows, columns = crop_to(changed)
    assert (columns.start, rows.start) == (20, 40)
    assert (columns.stop, rows.stop) == (20 + width, 40 + height)


def test_fragments_lie_as_no_digit_does() -> None:
    source = load_sources(seed=0)['train']
    rng = np.random.default_rng(0)
    for _ in range(100):
        part = cut_fragment(rng, source)
        height, width = part[crop_to(part >= INK)].shape
        assert width >= 1.25 * height


def test_overlap_is_a_share_of_the_smaller_box() -> None:
    box = Box(0, 0, 10, 10)
    assert overlap(box, Box(10, 0, 10, 10)) == 0
    assert overlap(box, Box(20, 20, 5, 5)) == 0
    assert overlap(box, Box(5, 0, 20, 10)) == 0.5
    assert overlap(box, Box(2, 2, 4, 4)) == 1


def test_a_finished_set_is_reused(fresh: Callable[..., Path]) -> None:
    output = fresh()
    image = output / 'train' / '000001.png'
    image.write_bytes(b'kept')
    assert fresh() == output
    assert image.read_bytes() == b'kept'


def test_other_options_are_refused_until_forced(fresh: Callable[..., Path]) -> None:
    output = fresh()
    with pytest.raises(DatasetError, match=r'other options \(train 1, not 2\); add --force'):
        fresh(train=2)
    assert len(list((output / 'train').iterdir())) == 1
    manifest = tool.make_dataset(output, **dict(OPTIONS, train=2, val=1), force=True)
    assert manifest['counts']['train']['images'] == 2
    assert len(list((output / 'train').iterdir())) == 2
    assert [path.name for path in output.parent.iterdir()] == ['digits']


def test_missing_images_are_noticed(fresh: Callable[..., Path]) -> None:
    (fresh() / 'val' / '000001.png').unlink()
    with pytest.raises(DatasetError, match='files missing; add --force'):
        fresh()


def test_foreign_folders_are_never_replaced(tmp_path: Path) -> None:
    (tmp_path / 'thesis.tex').write_text('years of work')
    with pytest.raises(DatasetError, match='not a mini data set'):
        tool.make_dataset(tmp_path, **OPTIONS, force=True)
    assert (tmp_path / 'thesis.tex').read_text() == 'years of work'


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    tool.make_dataset(tmp_path, **dict(OPTIONS, train=1, val=1))
    assert (tmp_path / 'dataset.json').is_file()


def test_an_interrupted_run_leaves_no_data_set(
    fresh: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def draw_one_and_stop(*args: object, **kwargs: object) -> object:
        yield np.zeros((96, 96, 3), np.uint8), []
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr('mini_dataset.files.draw_scenes', draw_one_and_stop)
        with pytest.raises(KeyboardInterrupt):
            fresh()
    assert [path.name for path in tmp_path.iterdir()] == ['digits.partial']
    assert read_manifest(tmp_path / 'digits.partial') is None
    fresh()
    assert [path.name for path in tmp_path.iterdir()] == ['digits']


@pytest.mark.parametrize(
    ('option', 'value', 'message'),
    [
        ('train', 0, 'train must be at least 1, got 0'),
        ('val', -3, 'val must be at least 1, got -3'),
        ('size', 63, 'size must be at least 64, got 63'),
        ('seed', -1, 'seed must be at least 0, got -1'),
    ],
)
def test_options_out_of_range_are_named(
    tmp_path: Path, option: str, value: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        tool.make_dataset(tmp_path / 'digits', **dict(OPTIONS, **{option: value}))
    assert not list(tmp_path.iterdir())


def test_missing_scikit_learn_is_one_clear_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, 'sklearn.datasets', None)
    with pytest.raises(DatasetError, match=r"pip install 'wkd_det\[mini\]'"):
        tool.make_dataset(tmp_path / 'digits', **OPTIONS)


def test_command_line(tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess:
        command = [sys.executable, tool.__file__, '--output', str(tmp_path / 'digits'), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=HANGS)

    done = run('--train', '2', '--val', '1')
    assert (done.returncode, done.stderr) == (0, '')
    assert 'train 2 scenes' in done.stdout
    assert 'val 1 scenes' in done.stdout

    refused = run('--train', '3', '--val', '1')
    assert refused.returncode == 2
    assert refused.stderr.startswith('error: ')
    assert refused.stderr.count('\n') == 1

    wrong = run('--size', '10')
    assert wrong.returncode == 2
    assert wrong.stderr == 'error: size must be at least 64, got 10\n'
