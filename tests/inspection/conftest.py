import pytest
from mmengine.config import Config

from tiny_files import write_files
from wkd_det.inspection.detections import open_detector
from wkd_det.inspection.opening import annotated_dataset


@pytest.fixture(scope='session')
def files(tmp_path_factory):
    """Data, configs and checkpoints of a teacher and of two students, one of them distilled."""
    path = tmp_path_factory.mktemp('files')
    write_files(path)
    return path


@pytest.fixture(scope='session')
def detectors(files):
    return {
        name: open_detector(str(files / f'{name}.py'), files / f'{name}.pth').module
        for name in ('teacher', 'plain')
    }


@pytest.fixture(scope='session')
def dataset(files):
    return annotated_dataset(Config.fromfile(files / 'teacher.py'), 'val')
