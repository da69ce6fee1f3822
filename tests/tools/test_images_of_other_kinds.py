"""Commands on detectors and classifiers of grey images, as users run them."""

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

import build_interrelation
import plots
from commands import run
from mini_dataset.digits import CLASSES
from tiny_files import write_files
from wkd_det.costs.files import read_cost_file
from wkd_det.testing import distilled_from, save_classifier, save_detector, wkd_f_term


def grey(config, color_type):
    """The config with a detector of one channel; images are read in grey, or as they are."""
    config.model.backbone.in_channels = 1
    config.model.data_preprocessor = dict(
        type='DetDataPreprocessor', mean=[110.0], std=[60.0], pad_size_divisor=32
    )
    for loader in (config.train_dataloader, config.val_dataloader, config.test_dataloader):
        for step in loader.dataset.pipeline:
            if step.type == 'LoadImageFromFile':
                step.color_type = color_type
    return config


@pytest.fixture(params=['grayscale', 'unchanged'])
def folder(tmp_path, request):
    """Data, and the two plain detectors; where images are read as they are, they have 16 bits."""
    write_files(tmp_path)
    if request.param == 'unchanged':
        for path in (tmp_path / 'data').rglob('*.png'):
            pixels = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
            cv2.imwrite(str(path), pixels.astype(np.uint16) * 257)
    for name in ('teacher', 'plain'):
        config = grey(Config.fromfile(tmp_path / f'{name}.py'), request.param)
        config.dump(tmp_path / f'{name}.py')
        save_detector(config.model, tmp_path / f'{name}.pth', class_names=list(CLASSES))
    return tmp_path


def test_detectors(folder):
    files = [str(folder / 'teacher.py'), str(folder / 'teacher.pth')]
    output = folder / 'costs.safetensors'
    arguments = [*files, '--method', 'gaussian-diag', '--min-per-class', '2', '--split', 'val']
    arguments += ['--output', str(output)]
    build_interrelation.build(build_interrelation.parse_args(arguments))
    assert read_cost_file(output).distance.isfinite().all()
    picture = ['attention', '--teacher', *files, '--scenes', '1', '--objects', '1']
    picture += ['--student', 'plain', str(folder / 'plain.py'), str(folder / 'plain.pth')]
    plots.main([*picture, '--output', str(folder / 'attention.png')])
    assert (folder / 'attention.png').read_bytes().startswith(b'\x89PNG')
    config = Config.fromfile(folder / 'plain.py')
    config.model = distilled_from(
        config.model, dict(config=files[0], checkpoint=files[1]), dict(loss_wkd_f=wkd_f_term())
    )
    config.work_dir = str(folder / 'work')
    annotations = str(folder / 'data/annotations/instances_val.json')
    config.val_evaluator.ann_file = config.test_evaluator.ann_file = annotations
    config.dump(folder / 'distilled.py')
    for tested in (folder / 'plain.pth', '--teacher'):
        assert 'bbox_mAP' in run('tools/test.py', folder / 'distilled.py', tested)


def test_a_classifier(tmp_path):
    generator = np.random.default_rng(0)
    for label in range(10):
        for index in range(3):
            path = tmp_path / f'images/class {label}/{index}.png'
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(generator.integers(0, 256, (32, 32), np.uint8)).save(path)
    network = dict(type='TimmModel', name='resnet18', num_classes=10, in_chans=1)
    pixels = dict(type='ImagePreprocessor', mean=[128.0], std=[64.0])
    model = dict(type='Classifier', network=network, data_preprocessor=pixels)
    section = save_classifier(model, tmp_path / 'grey.pth')
    dataset = dict(
        type='ImageFolderDataset', data_root=str(tmp_path / 'images'),
        transforms=[dict(type='Grayscale')],
    )  # fmt: skip
    loader = dict(dataset=dataset)
    config = Config(dict(model=model, train_dataloader=loader, val_dataloader=loader))
    config.dump(tmp_path / 'grey.py')
    output = tmp_path / 'costs.safetensors'
    arguments = [str(tmp_path / 'grey.py'), section['checkpoint'], '--method', 'gaussian-diag']
    build_interrelation.build(build_interrelation.parse_args([*arguments, '--output', str(output)]))
    costs = read_cost_file(output)
    assert costs.distance.shape == (10, 10)
    assert costs.distance.isfinite().all()
