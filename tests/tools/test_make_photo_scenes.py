"""Photo scenes: read from the layout of Tiny ImageNet, the same annotations everywhere."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import dataset_folder
import make_photo_scenes as tool
from photo_scenes import layout, photographs
from photo_scenes.draws import Draws
from tiny_photos import GROUPS, jpeg, write_layout

OPTIONS = dict(size=(96, 64), photos=(2, 4), held_out=6)


@pytest.fixture(scope='module')
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The layout; tests must not change it."""
    return write_layout(tmp_path_factory.mktemp('photos'))


def make(source: Path, output: Path, **options: object) -> dict:
    return tool.make_scenes(
        source, output, **dict(OPTIONS, groups=source.parent / 'groups.txt') | options
    )


@pytest.fixture(scope='module')
def scenes(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Finished scenes; tests must not change them."""
    output = tmp_path_factory.mktemp('made') / 'scenes'
    make(source, output)
    return output


def read(root: Path, split: str, kind: str = 'groups') -> dict:
    return json.loads((root / f'annotations/{kind}_{split}.json').read_text())


def photos_of(root: Path, split: str) -> Counter:
    return Counter(each['photo'] for each in read(root, split)['annotations'])


# --- draws


def test_draws_are_those_of_every_version() -> None:
    draws = Draws(0, 'train', 1)
    assert [draws.below(1000) for _ in range(4)] == [954, 755, 840, 391]
    assert Draws(0, 'train', 1).shuffled(range(6)) == [0, 2, 1, 4, 3, 5]


def test_weighted_draws_in_proportion() -> None:
    draws = Draws('weights')
    found = Counter(draws.weighted([1, 0, 3]) for _ in range(4000))
    assert set(found) == {0, 2}
    assert abs(found[2] / 4000 - 0.75) < 4 * (0.75 * 0.25 / 4000) ** 0.5  # four deviations


# --- geometry


@pytest.mark.parametrize('count', [2, 3, 4, 5, 6])
def test_cells_tile_the_canvas(count: int) -> None:
    for seed in range(20):
        covered = np.zeros((96, 128), int)
        cells = layout.cut_canvas(Draws(seed), 128, 96, count)
        assert len(cells) == count
        for cell in cells:
            assert min(cell.w, cell.h) >= layout.MIN_CELL
            covered[cell.y : cell.y + cell.h, cell.x : cell.x + cell.w] += 1
        assert (covered == 1).all()


def test_a_canvas_without_room_has_fewer_cells() -> None:
    assert len(layout.cut_canvas(Draws(0), 64, 64, 9)) == 4


def photo(box: tuple[int, int, int, int]) -> photographs.Photo:
    return photographs.Photo(Path('none'), '0', 'n01', box)


def test_a_placed_box_is_that_of_the_crop() -> None:
    """A cell of the photograph's own shape, resized to its side, shows the whole box."""
    cell = layout.Cell(0, 0, 64, 64)
    for seed in range(50):
        placed = layout.place_photo(Draws(seed), photo((16, 20, 48, 52)), cell)
        if placed.side == 64:
            assert placed.box == (16 * 64, 20 * 64, 48 * 64, 52 * 64)
        assert 64 <= placed.side <= 83


@pytest.mark.parametrize('box', [(0, 0, 64, 64), (0, 0, 62, 62), (30, 30, 32, 32)])
def test_no_crop_for_a_box_that_fills_the_cell_or_is_a_speck(box: tuple[int, ...]) -> None:
    # 62 / 64 squared is 94 %; two pixels become at most three of 83.
    assert layout.place_photo(Draws(0), photo(box), layout.Cell(0, 0, 64, 64)) is None


@pytest.mark.parametrize(
    ('box', 'expected'), [((0, 0, 64, 57), True), ((0, 0, 64, 58), False)], ids=['89', '91']
)
def test_photographs_that_their_box_fills_are_left_out(
    box: tuple[int, ...], expected: bool
) -> None:
    assert photo(box).may_be_placed is expected


# --- the data set


def test_no_photograph_is_in_two_splits_and_each_is_used_once_a_pass(scenes: Path) -> None:
    counts = {split: photos_of(scenes, split) for split in tool.SPLITS}
    names = [name for count in counts.values() for name in count]
    assert len(names) == len(set(names))
    assert max(counts['train'].values()) == 2
    assert max(counts['search'].values()) == max(counts['val'].values()) == 3
    # A pass ends where too few are left for a scene of at most four.
    assert sum(counts['train'].values()) > 2 * (3 * 18 - 4)


def test_photographs_to_pretrain_on_are_those_of_train_and_search(scenes: Path) -> None:
    arrays = np.load(scenes / 'photos.npz')
    assert arrays['train_images'].shape == (3 * 18, 64, 64, 3)
    assert np.bincount(arrays['train_labels']).tolist() == [18, 18, 18]
    assert np.bincount(arrays['val_labels']).tolist() == [6, 6, 6]
    assert arrays['classes'].tolist() == [f'name of {wnid}' for wnid in GROUPS]


def test_boxes_are_where_the_objects_are(scenes: Path) -> None:
    """The square is green: inside the box by far more than around it."""
    found = read(scenes, 'val')
    files = {image['id']: image['file_name'] for image in found['images']}
    boxes = defaultdict(list)
    for each in found['annotations']:
        boxes[each['image_id']].append(each['bbox'])
    beside = 0
    for each in found['annotations']:
        with Image.open(scenes / 'val' / files[each['image_id']]) as image:
            pixels = np.asarray(image).astype(int)
        green = (pixels[..., 1] > 200) & (pixels[..., 0] < 90)
        x, y, w, h = each['bbox']
        assert each['area'] == w * h
        assert min(w, h) >= layout.MIN_SIDE
        inside = green[round(y) + 1 : round(y + h) - 1, round(x) + 1 : round(x + w) - 1]
        assert inside.mean() > 0.95
        taken = any(  # by the square of the next cell
            left < x - 3 < left + width + 3 and top < y + h and y < top + height
            for left, top, width, height in boxes[each['image_id']]
        )
        if x >= 6 and not taken:
            beside += 1
            assert green[round(y) : round(y + h), round(x) - 6 : round(x) - 3].mean() < 0.5
    assert beside > len(found['annotations']) / 4


def test_categories_are_groups_or_classes_in_groups(scenes: Path) -> None:
    groups, classes = read(scenes, 'train'), read(scenes, 'train', 'classes')
    assert groups['images'] == classes['images']
    assert groups['categories'] == [dict(id=1, name='dog'), dict(id=2, name='feline')]
    assert [
        (each['id'], each['name'], each['supercategory'], each['wnid'])
        for each in classes['categories']
    ] == [(i, f'name of {wnid}', GROUPS[wnid], wnid) for i, wnid in enumerate(GROUPS, start=1)]
    pairs = {
        (a['category_id'], b['category_id'])
        for a, b in zip(groups['annotations'], classes['annotations'])
    }
    assert pairs == {(1, 1), (1, 2), (2, 3)}


def test_the_manifest_counts(scenes: Path) -> None:
    manifest = dataset_folder.read_manifest(scenes)
    for split, counted in manifest['splits'].items():
        found = read(scenes, split)
        assert len(found['images']) == counted['images'] == len(list((scenes / split).iterdir()))
        assert len(found['annotations']) == counted['annotations']


def test_same_options_give_the_same_files(source: Path, scenes: Path, tmp_path: Path) -> None:
    make(source, tmp_path / 'again')
    files = sorted(path.relative_to(scenes) for path in scenes.rglob('*') if path.is_file())
    for path in files:
        assert (scenes / path).read_bytes() == (tmp_path / 'again' / path).read_bytes()


def test_names_and_numbers_of_files_do_not_matter(scenes: Path, tmp_path: Path) -> None:
    make(write_layout(tmp_path, first=300), tmp_path / 'scenes')
    assert dataset_folder.read_manifest(scenes) == dataset_folder.read_manifest(tmp_path / 'scenes')


def test_another_seed_gives_another_split_and_other_scenes(
    source: Path, scenes: Path, tmp_path: Path
) -> None:
    make(source, tmp_path / 'other', seed=1)
    assert photos_of(scenes, 'search') != photos_of(tmp_path / 'other', 'search')
    first, second = (
        dataset_folder.read_manifest(root)['splits']['val'] for root in (scenes, tmp_path / 'other')
    )
    assert first['groups'] != second['groups']


def test_tiny_is_the_beginning(source: Path, scenes: Path, tmp_path: Path) -> None:
    made = make(source, tmp_path / 'tiny', tiny=True)
    assert [split['images'] for split in made['splits'].values()] == [4, 4, 4]
    assert read(tmp_path / 'tiny', 'train')['images'] == read(scenes, 'train')['images'][:4]
    assert (tmp_path / 'tiny/train/000004.bmp').read_bytes() == (
        scenes / 'train/000004.bmp'
    ).read_bytes()


def test_files_that_occur_twice_are_left_out(tmp_path: Path) -> None:
    source = write_layout(tmp_path, train=8, val=4)
    twice = (source / 'train/n01/images/n01_0.JPEG').read_bytes()
    (source / 'val/images/val_11.JPEG').write_bytes(twice)
    found = photographs.read_photos(source, GROUPS)
    assert len(found['train']) == 3 * 8 - 1
    assert len(found['val']) == 3 * 4 - 1


def test_finished_scenes_are_reused(source: Path, scenes: Path) -> None:
    before = (scenes / 'dataset.json').stat().st_mtime_ns
    make(source, scenes)
    assert (scenes / 'dataset.json').stat().st_mtime_ns == before
    with pytest.raises(dataset_folder.DatasetError, match=r'other options \(seed 0, not 2\)'):
        make(source, scenes, seed=2)


def test_fifty_classes_in_ten_groups() -> None:
    table = photographs.read_groups(None)
    assert set(Counter(table.values()).values()) == {5}
    assert len(table) == 50
    assert list(dict.fromkeys(table.values())) == list(photographs.GROUPS)


def test_the_study_knows_the_groups_by_the_same_names() -> None:
    from mmengine.config import Config

    root = Path(tool.__file__).parents[1]
    config = Config.fromfile(root / 'configs/_base_/datasets/photo_scenes.py')
    assert tuple(config.metainfo.classes) == tuple(photographs.GROUPS)


# --- errors


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(size=(63, 64)), 'size must be at least 64 x 64, got (63, 64)'),
        (
            dict(photos=(1, 4)),
            'photos must be two numbers from 2 to 6, the least first, got (1, 4)',
        ),
        (
            dict(photos=(4, 3)),
            'photos must be two numbers from 2 to 6, the least first, got (4, 3)',
        ),
        (
            dict(photos=(2, 7)),
            'photos must be two numbers from 2 to 6, the least first, got (2, 7)',
        ),
        (dict(passes=0), 'passes must be at least 1, got 0'),
        (dict(val_passes=0), 'val_passes must be at least 1, got 0'),
        (dict(held_out=0), 'held_out must be at least 1, got 0'),
        (dict(seed=-1), 'seed must be at least 0, got -1'),
        (
            dict(held_out=24),
            'held_out must be below the training photographs of each class, 24 in n01, got 24',
        ),
    ],
)
def test_options_out_of_their_range(
    source: Path, tmp_path: Path, options: dict, message: str
) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011  the whole message is compared
        make(source, tmp_path / 'scenes', **options)
    assert str(error.value) == message
    assert not (tmp_path / 'scenes').exists()


@pytest.mark.parametrize(
    ('name', 'old', 'new', 'message'),
    [
        (
            'train/n01/n01_boxes.txt',
            'n01_0.JPEG\t16',
            'n01_0.JPEG\tx',
            'n01_boxes.txt, line 1 must have 5 fields, the last four integers, got '
            "['n01_0.JPEG', 'x', '20', '47', '51']",
        ),
        (
            'val/val_annotations.txt',
            'val_1.JPEG\tn01\t16',
            'val_1.JPEG\tn01\t48',
            'val_annotations.txt, line 2: the box must lie in 64 x 64 pixels, got '
            "['48', '20', '47', '51']",
        ),
    ],
)
def test_lines_that_are_wrong(tmp_path: Path, name: str, old: str, new: str, message: str) -> None:
    source = write_layout(tmp_path, train=8, val=4)
    text = (source / name).read_text()
    (source / name).write_text(text.replace(old, new, 1))
    with pytest.raises(ValueError) as error:  # noqa: PT011  the whole message is compared
        make(source, tmp_path / 'scenes')
    assert str(error.value) == message


@pytest.mark.parametrize(
    ('lines', 'message'),
    [
        ('n01\tround\nn02', 'groups.txt, line 2 must be a class, a tab and a group'),
        ('n01\tround\nn01\tlong', 'groups.txt, line 2: the class n01 occurs twice'),
        ('\n', 'groups.txt must name at least one class'),
    ],
)
def test_groups_that_are_wrong(tmp_path: Path, lines: str, message: str) -> None:
    (tmp_path / 'groups.txt').write_text(lines)
    with pytest.raises(ValueError) as error:  # noqa: PT011  the whole message is compared
        photographs.read_groups(tmp_path / 'groups.txt')
    assert str(error.value) == f'{tmp_path}/{message}'


def test_missing_files_are_named(tmp_path: Path) -> None:
    source = write_layout(tmp_path, train=8, val=4)
    (source / 'train/n02/images/n02_3.JPEG').unlink()
    with pytest.raises(dataset_folder.DatasetError) as error:
        make(source, tmp_path / 'scenes')
    assert str(error.value) == (
        f'{source}/train/n02/images/n02_3.JPEG is missing, which n02_boxes.txt, line 4 names'
    )
    with pytest.raises(dataset_folder.DatasetError) as error:
        tool.make_scenes(tmp_path / 'nothing', tmp_path / 'scenes')
    assert str(error.value) == (
        f'{tmp_path}/nothing/words.txt is missing: it belongs to Tiny ImageNet, '
        'http://cs231n.stanford.edu/tiny-imagenet-200.zip'
    )
    with pytest.raises(dataset_folder.DatasetError) as error:
        photographs.read_names(source, {'n07': 'dog'})
    assert str(error.value) == f"{source}/words.txt does not name the classes ['n07']"


def test_a_picture_of_another_size(tmp_path: Path) -> None:
    source = write_layout(tmp_path, train=8, val=4)
    path = source / 'train/n01/images/n01_3.JPEG'
    path.write_bytes(jpeg(3, side=60))
    with pytest.raises(ValueError) as error:  # noqa: PT011  the whole message is compared
        make(source, tmp_path / 'scenes')
    assert str(error.value) == f'{path} must be 64 x 64 pixels, got (60, 60)'


def test_the_command(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [str(source), '--output', str(tmp_path / 'scenes'), '--tiny', '--held-out', '6']
    groups = ['--groups', str(source.parent / 'groups.txt')]
    assert tool.main([*arguments, *groups, '--size', '96', '64', '--photos', '2', '2']) == 0
    assert capsys.readouterr().out == (
        f'{tmp_path}/scenes: train 4 scenes with 8 objects, search 4 scenes with 8 objects, '
        'val 4 scenes with 8 objects\n'
    )
    assert tool.main([str(source), '--output', str(tmp_path / 'more')]) == 2
    assert 'does not name the classes' in capsys.readouterr().err
