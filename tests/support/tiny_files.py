"""Files of tiny detectors: data, configs and checkpoints, as users have them."""

import json

from mmengine.config import Config
from mmengine.registry import init_default_scope

from commands import ROOT
from make_mini_dataset import make_dataset
from mini_dataset.digits import CLASSES
from wkd_det.testing import distilled_config, save_detector, tiny_faster_rcnn, wkd_f_term


def write_files(path):
    """Write data, and config and checkpoint of ``teacher``, ``plain`` and ``distilled``."""
    init_default_scope('mmdet')
    make_dataset(path / 'data', train=4, val=6, size=64, seed=0)
    teacher = tiny_faster_rcnn(num_classes=10, base_channels=12, fpn_channels=24)
    models = dict(
        teacher=teacher,
        plain=tiny_faster_rcnn(num_classes=10),
        distilled=distilled_config(
            dict(config=teacher, checkpoint='nowhere.pth'),
            dict(loss_wkd_f=wkd_f_term()),
            num_classes=10,
        ),
    )
    for index, (name, model) in enumerate(models.items()):
        config = Config.fromfile(ROOT / 'configs/mini/faster-rcnn_teacher.py')
        config.model = model
        for loader in (config.train_dataloader, config.val_dataloader, config.test_dataloader):
            loader.dataset.data_root = f'{path}/data/'
        config.dump(path / f'{name}.py')
        if name == 'distilled':  # trained elsewhere: its teacher is not here
            model = dict(model, type='FasterRCNN')
            del model['teacher'], model['distill']
            model = tiny_faster_rcnn(num_classes=10)
        save_detector(model, path / f'{name}.pth', class_names=list(CLASSES), seed=index)


def truth_of(folder, split):
    """Boxes in pixels of the 96 x 96 image that the pipeline makes of a scene, and labels."""
    content = json.loads((folder / f'data/annotations/instances_{split}.json').read_text())
    truth = {image['id']: ([], []) for image in content['images']}
    for one in content['annotations']:
        x, y, width, height = one['bbox']
        boxes, labels = truth[one['image_id']]
        boxes.append([side * 96 / 64 for side in (x, y, x + width, y + height)])
        labels.append(one['category_id'] - min(c['id'] for c in content['categories']))
    return list(truth.values())
