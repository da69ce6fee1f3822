"""Pins of all that users rely on: names and options, checkpoints, functions, command lines.

Files may move and types may be renamed: this test stays as it is, and passes. So nothing here is
imported by the place where it lives; types are looked up by name in MMDetection's registries, as
configs do. What is recorded must be there and the same; what is new beside it is no concern.

``tests/data/pins`` holds what is compared with. Its ``methods.json`` is an input: the terms of
every method as the configs had them. Everything else is written by

    PYTHONPATH=. OMP_NUM_THREADS=1 python tests/test_pins.py --write [PART ...]

which is right after something new was added that is to stay; it forgets nothing that was recorded
of types, functions and command lines. ``--write training`` replaces the checkpoints, which are here
because an older version has written them: only if it was decided that those need not resume.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib
import inspect
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import cv2
import mmdet
import mmdet.registry
import numpy as np
import pytest
import torch
from mmdet.registry import MODELS, OPTIM_WRAPPERS
from mmdet.structures import DetDataSample
from mmengine.config import Config, ConfigDict
from mmengine.device import get_device
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import Registry, init_default_scope
from mmengine.runner import Runner
from mmengine.structures import InstanceData
from mmengine.visualization import Visualizer
from safetensors.torch import save_file

import wkd_det  # noqa: F401  registers everything

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / 'tests/data/pins'
REQUIRED, OTHERS = 'required', '**'


def read(name):
    return json.loads((DATA / f'{name}.json').read_text())


def write(name, content):
    text = json.dumps(content, indent=1, sort_keys=True)
    (DATA / f'{name}.json').write_text(f'{text}\n')


def plain(value):
    """A value as JSON holds it; paths relative to the checkout."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Path):
        return str(value.relative_to(ROOT) if value.is_relative_to(ROOT) else value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, range)):
        return [plain(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(plain(item) for item in value)
    return repr(value)


def changes(recorded, found, where):
    """Yield each recorded option that is gone or has another default."""
    for name, default in recorded.items():
        if name not in found:
            yield f'{where}: {name} is gone'
        elif found[name] != default != REQUIRED:
            yield f'{where}: the default of {name} was {default} and is {found[name]}'
    for name in found.keys() - recorded.keys():
        if found[name] == REQUIRED:
            yield f'{where}: {name} is new and required'


# Types that configs name, and their options

OLD_NAMES = {
    'HierarchicalContextLoss': {},
    'ImitationLoss': {},
    'InstanceConditionalLoss': dict(num_classes=4, student_channels=8, teacher_channels=8),
}
"""Names that were replaced, with the arguments they cannot do without; they go on working."""


def options_of(kind):
    """Options and defaults of a type, those that it hands on to wkd_det's own bases included."""
    if not inspect.isclass(kind):
        return parameters_of(kind)
    options, others = {}, 'taken'
    for owner in kind.__mro__:
        if '__init__' not in vars(owner) or owner.__module__.split('.')[0] != 'wkd_det':
            continue
        own = parameters_of(owner.__init__)
        del own['self']
        others = own.pop(OTHERS, None)
        # What a base cannot do without the type itself may give.
        inherited = {name: default for name, default in own.items() if default != REQUIRED}
        options = {**(inherited if options else own), **options}
        if others is None:
            break
    return options if others is None else {**options, OTHERS: others}


def parameters_of(function):
    """Defaults by name, and whether other keywords are taken too."""
    options = {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            options[OTHERS] = 'taken'
        elif parameter.kind is not parameter.VAR_POSITIONAL:
            required = parameter.default is parameter.empty
            options[parameter.name] = REQUIRED if required else repr(parameter.default)
    return options


def registries():
    """Every registry of MMDetection and mmengine, as ``package.NAME``."""
    return {
        f'{package}.{name}': registry
        for package in ('mmdet', 'mmengine')
        for name, registry in vars(importlib.import_module(f'{package}.registry')).items()
        if isinstance(registry, Registry)
    }


def found_types():
    """Options of what wkd_det has registered, by registry and name."""
    found = {}
    for place, registry in registries().items():
        for name, kind in registry.module_dict.items():
            # The name AmpOptimWrapper is taken only on machines without an accelerator.
            if kind.__module__.split('.')[0] == 'wkd_det' and name != 'AmpOptimWrapper':
                found.setdefault(place, {})[name] = options_of(kind)
    return found


def test_every_type_is_there_with_its_options_and_defaults():
    wrong = []
    for place, kinds in read('types').items():
        registry = registries()[place]
        for name, recorded in kinds.items():
            kind = registry.get(name)
            if kind is None:
                wrong.append(f'{place}: {name} is gone')
                continue
            if name in OLD_NAMES:  # perhaps something that only warns and makes the new one
                kind = type(registry.build(dict(type=name, **OLD_NAMES[name])))
            wrong.extend(changes(recorded, options_of(kind), f'{place}: {name}'))
    assert wrong == []


@pytest.mark.parametrize('name', OLD_NAMES)
def test_a_replaced_name_takes_its_options(name):
    recorded = read('types')['mmdet.MODELS'][name]
    given = {key: ast.literal_eval(text) for key, text in recorded.items() if text != REQUIRED}
    loss = MODELS.build(dict(type=name, **given, **OLD_NAMES[name]))
    assert isinstance(loss, torch.nn.Module)


@pytest.mark.skipif(get_device() != 'cpu', reason="mixed precision is mmengine's there")
def test_mixed_precision_goes_by_its_usual_name_on_a_cpu():
    assert OPTIM_WRAPPERS.get('AmpOptimWrapper') is OPTIM_WRAPPERS.get('CPUAmpOptimWrapper')


def test_importing_wkd_det_is_all_it_takes():
    """In a fresh process, without a default scope, with and without MMDetection's prefix."""
    script = """
import wkd_det
from mmdet.registry import MODELS
from mmengine.registry import MODELS as ROOT, DefaultScope

config = dict(cost=dict(type='ConstantCost'))
short, long = 'WKDLogitLoss', 'mmdet.WKDLogitLoss'
built = [MODELS.build(dict(config, type=name)) for name in (short, long)]
built.append(ROOT.build(dict(config, type=long)))
with DefaultScope.overwrite_default_scope('mmdet'):  # as a runner builds
    built.append(ROOT.build(dict(config, type=short)))
assert len({type(loss) for loss in built}) == 1, built
for name in ('DistilledFasterRCNN', 'mmdet.DistilledFasterRCNN', 'DistilledClassifier'):
    assert MODELS.get(name) is not None, name
"""
    environment = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1')
    done = subprocess.run(
        [sys.executable, '-c', script],
        env=environment, capture_output=True, text=True, timeout=1800, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]


# Names that are imported

# ``wkd_det.functional`` as a whole; of the packages that users import from, the names.
IMPORTED = {
    'wkd_det.checkpoint': None,
    'wkd_det.classification': ['network_weights'],
    'wkd_det.connectors': None,
    'wkd_det.detection': ['distilled'],
    'wkd_det.interrelation': None,
    'wkd_det.losses': None,
    'wkd_det.testing': None,
    'wkd_det.visualization': None,
}


def found_functions():
    """Parameters of the public functions of ``wkd_det.functional``, values of its constants."""
    module = importlib.import_module('wkd_det.functional')
    found = {}
    for name in module.__all__:
        value = getattr(module, name)
        if not callable(value):
            found[name] = dict(value=plain(value))
            continue
        parameters = inspect.signature(value).parameters.values()
        found[name] = dict(
            parameters=parameters_of(value),
            by_position=[p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD],
        )
    return found


def test_functions_are_there_with_their_parameters_and_defaults():
    found, wrong = found_functions(), []
    for name, recorded in read('functional').items():
        if name not in found:
            wrong.append(f'{name} is gone')
        elif 'value' in recorded:
            if not all(entry in found[name]['value'] for entry in recorded['value']):
                wrong.append(f'{name} was {recorded} and is {found[name]}')
        else:
            wrong.extend(changes(recorded['parameters'], found[name]['parameters'], name))
            order = recorded['by_position']
            if found[name]['by_position'][: len(order)] != order:
                wrong.append(f'{name}: parameters by position were {order}')
    assert wrong == []


def test_names_are_imported_from_where_they_were():
    """Also those of packages that have moved, for which a warning is fine."""
    wrong = [
        f'{module}.{name}'
        for module, names in read('imports').items()
        for name in names
        if not hasattr(importlib.import_module(module), name)
    ]
    assert wrong == []


# Networks small enough to build in a blink

CLASSES = ['ant', 'bee', 'cat']

CONFIGS = {
    'FasterRCNN': '_base_/models/faster-rcnn_r50_fpn.py',
    'CascadeRCNN': '_base_/models/cascade-rcnn_r50_fpn.py',
    'RetinaNet': '_base_/models/retinanet_r50_fpn.py',
}


def tiny_detector(kind, *, base_channels=4, fpn_channels=8, num_classes=3):
    """MMDetection's model of a kind, with a ResNet-18 of a few channels and narrow heads."""
    model = Config.fromfile(Path(mmdet.__file__).parent / '.mim/configs' / CONFIGS[kind]).model
    small = dict(
        in_channels=fpn_channels, out_channels=fpn_channels, feat_channels=fpn_channels,
        fc_out_channels=16, stacked_convs=1, num_classes=num_classes, num=32, nms_pre=200,
        max_per_img=100, sampling_ratio=2, allowed_border=-1,
    )  # fmt: skip
    _shrink(model, small)
    model.backbone = dict(type='ResNet', depth=18, base_channels=base_channels)
    model.neck.in_channels = [base_channels * 2**level for level in range(4)]
    return model


def _shrink(section, small):
    for item in section if isinstance(section, list) else ():
        _shrink(item, small)
    for key, value in section.items() if isinstance(section, dict) else ():
        if key in small and isinstance(value, int):
            section[key] = small[key]
        _shrink(value, small)
    if isinstance(section, dict) and section.get('type') == 'RoIAlign':
        section['use_torchvision'] = True


def tiny_classifier(name='resnet8', num_classes=3, **options):
    network = dict(type='CifarModel', name=name, num_classes=num_classes, **options)
    return dict(type='Classifier', network=network)


def distilled(student, teacher, distill, **options):
    return ConfigDict(
        student, type=f'Distilled{student["type"]}', teacher=teacher, distill=distill, **options
    )


def with_weights(config, path, classes=None):
    """A ``teacher`` section with random weights on disk."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = MODELS.build(copy.deepcopy(config))
        model.init_weights()
    meta = {} if classes is None else dict(dataset_meta=dict(classes=classes))
    torch.save(dict(state_dict=model.state_dict(), meta=meta), path)
    return dict(config=config, checkpoint=str(path))


# Taps

CONV = dict(type='ConvConnector')
FITNET, KD, OFFSETS = dict(type='FitNetLoss'), dict(type='KDLoss'), dict(type='OffsetLoss')
STAGES = dict(stage=None, teacher_stage=None, stage_weights=None)
LEVELS = dict(levels=None, teacher_levels=None)
ROIS = dict(rois='all', **STAGES)
DETECTOR_TAPS = {
    'neck': (dict(connector=CONV, loss=FITNET), dict(level_weights=None, **LEVELS)),
    'backbone': (dict(connector=CONV, loss=FITNET), dict(level_weights=None, **LEVELS)),
    'pyramid': (dict(connector=CONV, loss=dict(type='HierarchicalContextLoss')), LEVELS),
    'imitation': (
        dict(connector=CONV, loss=dict(type='ImitationLoss')), dict(threshold=0.5, **LEVELS),
    ),
    'instances': (dict(loss=dict(type='InstanceConditionalLoss', width=16, num_heads=2)), LEVELS),
    'roi_logits': (dict(loss=KD), dict(background=True, **ROIS)),
    'roi_offsets': (dict(loss=OFFSETS), ROIS),
    'roi_boxes': (dict(loss=dict(type='BoxLoss')), STAGES),
    'roi_feats': (
        dict(connector=CONV, loss=FITNET), dict(roi_size=None, connector_at='map', **ROIS),
    ),
    'crossed_logits': (
        dict(head='teacher', connector=CONV, loss=KD), dict(background=True, **ROIS),
    ),
    'crossed_offsets': (dict(head='student', connector=CONV, loss=OFFSETS), ROIS),
}  # fmt: skip
"""The parts that a term of each tap needs, and the options of the tap with their defaults."""
CLASSIFIER_TAPS = {
    'logits': (dict(loss=KD), {}),
    'layer3': (dict(connector=CONV, loss=FITNET), dict(teacher_tap=None, same_size=True)),
}
TEACHER_OPTIONS = dict(overrides=None, classes='same')


def terms_of(taps, said):
    """A term for each tap, with its options said or left out."""
    return {
        f'loss_{tap}': dict(tap=tap, **needed, **(defaults if said else {}))
        for tap, (needed, defaults) in taps.items()
    }


def random_batch(num_classes=3, sizes=((96, 64), (64, 80))):
    generator = torch.Generator().manual_seed(0)
    images, samples = [], []
    for height, width in sizes:
        shape = (3, height, width)
        images.append(torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8))
        corner = torch.rand(3, 2, generator=generator) * 32
        boxes = torch.cat([corner, corner + 16 + corner.flip(1) / 2], dim=1)
        labels = torch.randint(0, num_classes, (3,), generator=generator)
        sample = DetDataSample(metainfo=dict(img_shape=(height, width), img_id=0))
        sample.gt_instances = InstanceData(bboxes=boxes, labels=labels)
        sample.ignored_instances = InstanceData(bboxes=boxes[:0], labels=labels[:0])
        samples.append(sample)
    return dict(inputs=images, data_samples=samples)


def losses_of(config, batch):
    torch.manual_seed(0)
    model = MODELS.build(copy.deepcopy(config))
    model.init_weights()
    model.train()
    data = model.data_preprocessor(copy.deepcopy(batch), True)
    torch.manual_seed(1)  # sampling, and what ICD invents
    data = data.values() if isinstance(data, dict) else data
    losses = model.loss(*data)
    return {name: losses[name].item() for name in config['distill']}


def check_defaults(student, teacher, taps, batch, **options):
    """Options that say what is the default anyway are known, and change no bit of any loss."""
    silent = distilled(student, teacher, terms_of(taps, said=False), **options)
    said = distilled(
        student, dict(teacher, **TEACHER_OPTIONS), terms_of(taps, said=True),
        on_non_finite='raise', **options,
    )  # fmt: skip
    expected = losses_of(silent, batch)
    assert losses_of(said, batch) == expected
    assert all(0 < value < float('inf') for value in expected.values()), expected


def test_taps_of_detectors_have_their_options_and_defaults(tmp_path):
    wide = tiny_detector('FasterRCNN', base_channels=6, fpn_channels=12)
    teacher = with_weights(wide, tmp_path / 'teacher.pth')
    check_defaults(tiny_detector('FasterRCNN'), teacher, DETECTOR_TAPS, random_batch())


def test_taps_of_classifiers_have_their_options_and_defaults(tmp_path):
    teacher = with_weights(tiny_classifier('resnet14'), tmp_path / 'teacher.pth')
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (4, 3, 32, 32), generator=generator, dtype=torch.uint8)
    batch = [images, torch.tensor([0, 2, 1, 2])]
    check_defaults(tiny_classifier(), teacher, CLASSIFIER_TAPS, batch, image_size=32)
    term = dict(tap='layer3', teacher_tap='layer2', connector=CONV, loss=FITNET)
    config = distilled(tiny_classifier(), teacher, dict(loss_layer3=term), image_size=32)
    with pytest.raises(ValueError, match='same_size'):  # it is refused unless asked for
        losses_of(config, batch)


# Checkpoints


def found_keys():
    """Keys and shapes of what each method adds to the student, in the order of the checkpoint.

    The order matters: an optimizer counts the parameters.
    """
    methods, found = read('methods'), {}
    for name, method in methods['detectors'].items():
        kinds = method['student'], method['teacher']
        student = tiny_detector(kinds[0])
        teacher = tiny_detector(
            kinds[1], base_channels=6, fpn_channels=method.get('teacher_fpn', 12)
        )
        config = distilled(student, dict(config=teacher), method['distill'])
        found[f'{name} ({kinds[1]} to {kinds[0]})'] = keys_of(config, student)
    for name, method in methods['classifiers'].items():
        student = tiny_classifier(method['student'])
        teacher = dict(config=tiny_classifier(method['teacher']))
        config = distilled(student, teacher, method['distill'], image_size=32)
        found[f'{name} ({method["teacher"]} to {method["student"]})'] = keys_of(config, student)
    return found


def keys_of(config, student):
    state = MODELS.build(copy.deepcopy(config)).state_dict()
    own = [key for key in state if not key.startswith('distiller.')]
    assert own == list(MODELS.build(copy.deepcopy(student)).state_dict())
    return [f'{key} {list(value.shape)}' for key, value in state.items() if key not in set(own)]


def test_checkpoints_of_every_method_have_their_keys_shapes_and_order():
    found = found_keys()
    wrong = {
        name: dict(recorded=keys, found=found.get(name))
        for name, keys in read('checkpoints').items()
        if found.get(name) != keys
    }
    assert wrong == {}


def test_networks_of_cifar_go_by_their_names():
    names = (
        'resnet8 resnet14 resnet20 resnet32 resnet44 resnet56 resnet110 resnet8x4 resnet32x4 '
        'ResNet18 ResNet50 wrn_16_1 wrn_16_2 wrn_40_1 wrn_40_2 vgg8 vgg11 vgg13 vgg16 vgg19 '
        'MobileNetV2 ShuffleV1 ShuffleV2'
    )
    with torch.device('meta'):
        for name in names.split():
            assert MODELS.build(dict(type='CifarModel', name=name)).num_classes == 100


def test_keys_of_a_plain_classifier():
    state = MODELS.build(tiny_classifier()).state_dict()
    assert all(key.startswith('network.') for key in state)
    for key in ('conv1.weight', 'layer3.0.conv1.weight', 'fc.bias'):
        assert f'network.{key}' in state


# Files of class distances


def test_files_of_class_distances_are_read(tmp_path):
    """All three kinds, and brought into the order of the teacher's classes."""
    names = ['background', 'cat', 'ant', 'bee']
    points = torch.tensor([[0.0, 1.0], [1.0, 1.0], [1.0, 0.0], [0.6, 0.8]])
    distance = 1 - torch.nn.functional.cosine_similarity(points[:, None], points[None], dim=2)
    distance.fill_diagonal_(0)
    header = dict(wkd_det=json.dumps(dict(class_names=names, method='by hand')))
    save_file(dict(distance=distance), tmp_path / 'named.safetensors', header)
    order = [names.index(name) for name in (*CLASSES, 'background')]
    wanted = distance[order][:, order]
    torch.save(wanted, tmp_path / 'bare.pth')
    np.savez(tmp_path / 'prototypes.npz', names=np.array(names), prototypes=points.numpy())
    costs = dict(
        loss_named=dict(type='FileCost', path=str(tmp_path / 'named.safetensors')),
        loss_bare=dict(type='FileCost', path=str(tmp_path / 'bare.pth'), by_position=True),
        loss_prototypes=dict(type='PrototypeCost', path=str(tmp_path / 'prototypes.npz')),
    )
    terms = {
        name: dict(tap='roi_logits', loss=dict(type='WKDLogitLoss', sharpness=2.0, cost=cost))
        for name, cost in costs.items()
    }
    teacher = with_weights(tiny_detector('FasterRCNN'), tmp_path / 'teacher.pth', CLASSES)
    model = MODELS.build(distilled(tiny_detector('FasterRCNN'), teacher, terms))
    model.init_weights()
    state = model.state_dict()
    for name in terms:
        # Float32 throughout; the distance is turned over and back on the way.
        torch.testing.assert_close(
            state[f'distiller.terms.{name}.loss.cost'], 1 - (-2 * wanted).exp(), rtol=0, atol=1e-6
        )


# Training that an older version began

STOP, END = 3, 6


def make_images(folder):
    """Six images of 64 x 64 with a coloured rectangle or two each, in COCO's format."""
    folder.mkdir()
    rows, columns = np.mgrid[:64, :64]
    images, annotations = [], []
    for index in range(6):
        pixels = np.stack([(rows * 7 + columns * (3 + c) + 31 * index) % 97 for c in range(3)], 2)
        for number in range(1 + index % 2):
            left, top = 5 + 7 * index % 23 + 3 * number, 4 + 11 * (index + number) % 19
            width, height = 22 + 3 * index, 36 - 4 * number
            label = (index + number) % 3
            pixels[top : top + height, left : left + width, label] = 230
            annotations.append(
                dict(id=len(annotations), image_id=index, category_id=label, iscrowd=0,
                     bbox=[left, top, width, height], area=width * height)
            )  # fmt: skip
        cv2.imwrite(str(folder / f'{index}.png'), pixels.astype(np.uint8))
        images.append(dict(id=index, file_name=f'{index}.png', height=64, width=64))
    categories = [dict(id=label, name=name) for label, name in enumerate(CLASSES)]
    content = dict(images=images, annotations=annotations, categories=categories)
    (folder / 'annotations.json').write_text(json.dumps(content))


def trained_detector(base_channels, fpn_channels):
    """A Faster R-CNN in which rounding decides nothing: all proposals stay and all are sampled.

    A score or a box that differs in its last bit would change their order, and with it what the
    samplers draw. RPN samples anchors, which are the same everywhere if their sides are: square
    roots of ratios differ in the last bit between processors, and with them which anchors share the
    largest overlap with a box. Those of these ratios are exact.
    """
    model = tiny_detector('FasterRCNN', base_channels=base_channels, fpn_channels=fpn_channels)
    model.rpn_head.anchor_generator.update(ratios=[0.25, 1.0], scales=[6])
    model.roi_head.bbox_head.roi_feat_size = 3
    model.roi_head.bbox_roi_extractor.roi_layer.output_size = 3
    model.train_cfg.rpn_proposal.update(
        nms_pre=2000, max_per_img=2000, nms=dict(type='nms', iou_threshold=1.0)
    )
    model.train_cfg.rcnn.sampler.update(num=4000, pos_fraction=1.0)
    return model


def detector_training(folder):
    """Every method that has a state of its own, and schedules of terms and of parts of them."""
    make_images(folder / 'data')
    separate = dict(type='WKDLogitLoss', cost=dict(type='ClassifierCost'), sharpness=2.0)
    terms = dict(
        loss_wkd_l=dict(tap='roi_logits', loss=separate),
        loss_dkd=dict(tap='roi_logits', rois='foreground', loss=dict(type='DKDLoss')),
        loss_wkd_f=dict(
            tap='roi_feats', roi_size=4, connector=dict(type='ConvConnector', kernel_size=3),
            loss=dict(type='WKDFeatureLoss', grid=2, mean_cov_ratio=2.0, loss_weight=0.05),
        ),
        loss_box=dict(tap='roi_boxes', loss=dict(type='BoxLoss', diou_weight=5.0)),
        loss_icd=dict(
            tap='instances', loss=dict(type='InstanceConditionalLoss', width=8, num_heads=2)
        ),
    )  # fmt: skip
    teacher = dict(config=trained_detector(3, 12), checkpoint=str(DATA / 'detector_teacher.pth'))
    schedules = [
        dict(terms=['loss_wkd_l.transport_weight', 'loss_wkd_f'], decay_from=2),
        dict(terms=['loss_box.diou_weight', 'loss_icd.loss_weight'], warm_up=5),
        dict(terms=['loss_dkd.alpha', 'loss_dkd.beta'], factor=0.5, stop=4),
    ]
    return dict(
        model=distilled(trained_detector(2, 8), teacher, terms),
        train_dataloader=dict(
            batch_size=2,
            num_workers=0,
            sampler=dict(type='InfiniteSampler', shuffle=True),
            dataset=dict(
                type='CocoDataset',
                data_root=str(folder / 'data'),
                ann_file='annotations.json',
                data_prefix=dict(img=''),
                metainfo=dict(classes=CLASSES),
                pipeline=[
                    dict(type='LoadImageFromFile'),
                    dict(type='LoadAnnotations', with_bbox=True),
                    dict(type='RandomFlip', prob=0.5),
                    dict(type='PackDetInputs'),
                ],
            ),
        ),
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=END, val_interval=1000),
        custom_hooks=[
            dict(type='TermScheduleHook', by_epoch=False, **options) for options in schedules
        ],
        default_hooks=dict(checkpoint=dict(type='ExactCheckpointHook', by_epoch=False)),
        log_processor=dict(by_epoch=False),
    )


def classifier_training(folder):
    """A CNN that learns from a Transformer, by epochs, with the decay of the reference."""
    network = dict(
        type='TimmModel', name='resnet10t', channels=(4, 4, 8, 8), stem_width=4, num_classes=10
    )
    teacher = dict(
        type='TimmModel', name='vit_tiny_patch16_224', num_classes=10, img_size=32, patch_size=8,
        embed_dim=12, depth=2, num_heads=2,
    )  # fmt: skip
    terms = dict(
        loss_wkd_l=dict(
            tap='logits',
            loss=dict(
                type='WKDLogitLoss', cost=dict(type='ClassifierCost', center=True),
                temperature=2.0, transport_weight=3.0,
            ),
        ),
        loss_wkd_f=dict(
            tap='layer4', teacher_tap='blocks.1', same_size=False,
            connector=dict(type='ConvConnector', act_cfg=dict(type='ReLU')),
            loss=dict(type='WKDFeatureLoss', loss_weight=0.2),
        ),
    )  # fmt: skip
    section = dict(
        config=dict(type='Classifier', network=teacher),
        checkpoint=str(DATA / 'classifier_teacher.pth'),
    )
    return dict(
        model=distilled(
            dict(type='Classifier', network=network), section, terms, image_size=32
        ),
        train_dataloader=dict(
            batch_size=10,
            num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=True),
            collate_fn=dict(type='collate_images'),
            dataset=dict(
                type='DigitsDataset', split='train', per_class=3,
                transforms=[dict(type='RandomCrop', size=32, padding=3)],
            ),
        ),
        train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=3),
        custom_hooks=[dict(type='TermScheduleHook', decay_from=0)],
        default_hooks=dict(checkpoint=dict(type='ExactCheckpointHook')),
    )  # fmt: skip


TRAININGS = dict(detector=detector_training, classifier=classifier_training)


def train(content, work_dir, resume=None):
    """Run to the end, from the start or from a checkpoint."""
    by_epoch = content['train_cfg']['type'] == 'EpochBasedTrainLoop'
    content = copy.deepcopy(content)
    content['default_hooks']['checkpoint'].update(interval=1 if by_epoch else STOP)
    config = Config(
        dict(
            content,
            default_scope='mmdet',
            work_dir=str(work_dir),
            optim_wrapper=dict(
                type='OptimWrapper', optimizer=dict(type='SGD', lr=0.01, momentum=0.9)
            ),
            param_scheduler=[
                dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=2),
                dict(type='CosineAnnealingLR', by_epoch=False, begin=0, end=END),
            ],
            randomness=dict(seed=0),
            resume=resume is not None,
            load_from=None if resume is None else str(resume),
        )
    )
    for known in (MMLogger, MessageHub, Visualizer):  # of another run within this second
        known._instance_dict.clear()
    runner = Runner.from_cfg(config)
    runner.train()
    return runner


def followed(runner):
    """Losses, shares, scales and learning rates of all steps, and the weights at the end."""
    names = re.compile(r'train/(loss.*|share_.*|scale_.*|lr)')
    scalars = runner.message_hub.log_scalars
    log = {name: scalars[name].data[0].tolist() for name in scalars if names.fullmatch(name)}
    state = runner.model.state_dict()
    weights = torch.cat([state[key].double().flatten() for key in sorted(state)])
    return log, weights


# Machines round otherwise. With the instructions of other processors (ATEN_CPU_CAPABILITY=default,
# ONEDNN_MAX_CPU_ISA=SSE41), without oneDNN and with two threads, logged values differed by up to
# 2e-6 of themselves and weights by 7e-7. Of what was left out on purpose, the random states of the
# detector mattered least: they moved values by 4e-3 and weights by 9e-4.
LOG_TOLERANCE = dict(rtol=1e-4, atol=1e-6)
WEIGHT_TOLERANCE = dict(rtol=0, atol=1e-5)


def differences(kind, runner):
    """List whatever differs from the recorded continuation by more than rounding explains."""
    log, weights = followed(runner)
    recorded = read(f'{kind}_training')
    expected = np.load(DATA / f'{kind}_weights.npz')['weights']
    wrong = []
    for name, values in recorded.items():
        if name not in log:
            wrong.append(f'{name} is gone')
        elif len(values) != len(log[name]) or not np.allclose(log[name], values, **LOG_TOLERANCE):
            wrong.append(f'{name} was {values} and is {log[name]}')
    if len(expected) != len(weights):
        wrong.append(f'{len(expected)} weights were recorded, {len(weights)} are there')
    elif not np.allclose(weights, expected, **WEIGHT_TOLERANCE):
        largest = np.abs(weights.numpy() - expected).max()
        wrong.append(f'weights differ by {largest}')
    return wrong


@pytest.mark.parametrize('kind', TRAININGS)
def test_a_checkpoint_written_before_goes_on(kind, tmp_path):
    shutil.copy(DATA / f'{kind}.pth', tmp_path / 'before.pth')
    content = TRAININGS[kind](tmp_path)
    assert differences(kind, train(content, tmp_path / 'work', tmp_path / 'before.pth')) == []


@pytest.mark.parametrize(
    ('kind', 'path'),
    [
        ('classifier', ['random_states']),
        ('classifier', ['optimizer', 'state', 0]),
    ],
)
def test_what_is_lost_on_the_way_would_show(kind, path, tmp_path):
    """Without the random states or the momentum of one layer the run is another one."""
    checkpoint = torch.load(DATA / f'{kind}.pth', weights_only=True)
    part = checkpoint
    for key in path[:-1]:
        part = part[key]
    del part[path[-1]]
    torch.save(checkpoint, tmp_path / 'before.pth')
    content = TRAININGS[kind](tmp_path)
    assert differences(kind, train(content, tmp_path / 'work', tmp_path / 'before.pth')) != []


def test_a_vector_that_is_lost_stops_the_resumed_run(tmp_path):
    checkpoint = torch.load(DATA / 'detector.pth', weights_only=True)
    del checkpoint['state_dict']['distiller.terms.loss_icd.loss.decoder.query.bias']
    torch.save(checkpoint, tmp_path / 'before.pth')
    content = TRAININGS['detector'](tmp_path)
    with pytest.raises(ValueError, match='the checkpoint lacks weights of loss_icd. To begin a'):
        train(content, tmp_path / 'work', tmp_path / 'before.pth')


def write_training():
    """Train both without a stop, and keep the middle, the course and the end."""
    import tempfile

    for kind, prepare in TRAININGS.items():
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            content = prepare(folder)
            section = content['model']['teacher']
            classes = CLASSES if kind == 'detector' else [str(digit) for digit in range(10)]
            with_weights(section['config'], section['checkpoint'], classes)
            whole = train(content, folder / 'whole')
            middle = folder / f'whole/{"epoch_1" if kind == "classifier" else f"iter_{STOP}"}.pth'
            resumed = train(content, folder / 'resumed', middle)
            log, weights = followed(whole)
            again, same = followed(resumed)
            assert log == again, 'resuming is not exact'
            assert torch.equal(weights, same), 'resuming is not exact'
            shutil.copy(middle, DATA / f'{kind}.pth')
        write(f'{kind}_training', log)
        np.savez_compressed(DATA / f'{kind}_weights.npz', weights=weights.float().numpy())


# Command lines


class _Caught(BaseException):
    """Carries a parser out of a tool that begins to read its command line."""


def parser_of(tool, *arguments):
    """The parser that a tool asks first, which has its sub-commands in it."""

    def caught(self, *given, **options):
        raise _Caught(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.syspath_prepend(str(ROOT / 'tools'))
        patch.setattr(sys, 'argv', [str(ROOT / 'tools' / tool), *arguments])
        patch.setattr(argparse.ArgumentParser, 'parse_known_args', caught)
        with pytest.raises(_Caught) as found:
            runpy.run_path(str(ROOT / 'tools' / tool), run_name='__main__')
    return found.value.args[0]


def command_line(parser):
    """Options, positional arguments and sub-commands of a parser."""
    found = dict(options={}, positional=[], commands={})
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found['commands'] = {name: command_line(sub) for name, sub in action.choices.items()}
            continue
        if isinstance(action, argparse._HelpAction):
            continue
        facts = dict(
            choices=None if action.choices is None else plain(set(action.choices)),
            default=plain(action.default),
            nargs=action.nargs,
            required=action.required or None,
            three=_read_three(action),
        )
        facts = {key: value for key, value in facts.items() if value is not None}
        if not action.option_strings:
            found['positional'].append(facts)
        for option in action.option_strings:
            found['options'][option] = facts
    return found


def _read_three(action):
    """Return what the option makes of the text ``3``: a number or a word."""
    if action.nargs == 0:
        return None
    try:
        return plain((action.type or str)('3'))
    except (TypeError, ValueError, argparse.ArgumentTypeError):
        return None


def found_tools():
    """The command line of every tool that has a parser."""
    found = {}
    for path in sorted((ROOT / 'tools').glob('*.py')):
        if "__name__ == '__main__'" in path.read_text():
            found[path.name] = command_line(parser_of(path.name, '--help'))
    return found


def changed_commands(recorded, found, where):
    """Yield each recorded part of a command line that is gone or means something else."""
    for index, facts in enumerate(recorded['positional']):
        if found['positional'][index : index + 1] != [facts]:
            yield f'{where}: argument {index + 1} was {facts}'
    if any('required' in facts for facts in found['positional'][len(recorded['positional']) :]):
        yield f'{where}: more arguments are required'
    for option, facts in recorded['options'].items():
        own = found['options'].get(option)
        if own is None:
            yield f'{where}: {option} is gone'
            continue
        if 'choices' in own and not set(facts.get('choices', ())) <= set(own['choices']):
            yield f'{where}: the choices of {option} were {facts.get("choices")}'
        for key in ('default', 'nargs', 'required', 'three'):
            if own.get(key) != facts.get(key):
                yield f'{where}: {key} of {option} was {facts.get(key)} and is {own.get(key)}'
    for option in found['options'].keys() - recorded['options'].keys():
        if 'required' in found['options'][option]:
            yield f'{where}: {option} is new and required'
    for name, command in recorded['commands'].items():
        if name not in found['commands']:
            yield f'{where}: {name} is gone'
        else:
            yield from changed_commands(command, found['commands'][name], f'{where} {name}')


def test_command_lines_of_tools():
    wrong = []
    for tool, recorded in read('tools').items():
        if not (ROOT / 'tools' / tool).is_file():
            wrong.append(f'{tool} is gone')
            continue
        found = command_line(parser_of(tool, '--help'))
        wrong.extend(changed_commands(recorded, found, tool))
    assert wrong == []


def test_testing_the_teacher_is_an_option_of_the_test(tmp_path):
    """Which no parser of MMDetection knows: it is asked for before that."""
    path = tmp_path / 'plain.py'
    path.write_text("model = dict(type='Classifier')\n")
    arguments = ['test.py', str(path), '--teacher', '--cfg-options', 'work_dir=x']
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.syspath_prepend(str(ROOT / 'tools'))
        patch.setattr(sys, 'argv', arguments)
        with pytest.raises(SystemExit, match='no teacher'):
            runpy.run_path(str(ROOT / 'tools/test.py'), run_name='__main__')


def found_shell():
    """Variables and order of arguments of the shell scripts, and what ``make`` makes."""
    found = {}
    for path in sorted((ROOT / 'tools').glob('*.sh')):
        text = path.read_text()
        found[path.name] = dict(
            variables=sorted(set(re.findall(r'\$\{([A-Z][A-Z_]*):-', text))),
            usage=re.findall(r'usage: \$0 ([^"\[]*)', text),
        )
        if found[path.name]['usage']:  # of the others, which set up, the defaults may change
            values = re.findall(r'\$\{([A-Z][A-Z_]*:-[^}]*)\}', text)
            found[path.name]['defaults'] = sorted(set(values))
    targets = re.findall(r'^([a-z-]+):', (ROOT / 'Makefile').read_text(), re.MULTILINE)
    return dict(found, Makefile=dict(targets=sorted(targets)))


def test_shell_scripts_and_make():
    found, wrong = plain(found_shell()), []
    for script, recorded in read('shell').items():
        for what, entries in recorded.items():
            own = found.get(script, {}).get(what, [])
            wrong += [f'{script}: {entry} of {what}' for entry in entries if entry not in own]
    assert wrong == []


# Writing


def merged(recorded, found):
    """Join what was found with what was recorded and is not found by looking around."""
    if not isinstance(recorded, dict) or not isinstance(found, dict):
        return found
    both = {key: merged(recorded[key], found[key]) for key in recorded.keys() & found.keys()}
    return {**recorded, **found, **both}


def found_imports():
    return {
        module: sorted(names or importlib.import_module(module).__all__)
        for module, names in IMPORTED.items()
    }


LOOKED_UP: dict[str, object] = dict(
    types=found_types,
    functional=found_functions,
    imports=found_imports,
    checkpoints=found_keys,
    tools=found_tools,
    shell=found_shell,
)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts = [*LOOKED_UP, 'training']
    parser.add_argument('--write', nargs='*', choices=parts, required=True, help='all by default')
    chosen: Iterable[str] = parser.parse_args().write or parts
    init_default_scope('mmdet')
    for part in chosen:
        if part == 'training':
            write_training()
            continue
        before = read(part) if (DATA / f'{part}.json').is_file() else {}
        write(part, merged(before, plain(LOOKED_UP[part]())))


if __name__ == '__main__':
    main()
