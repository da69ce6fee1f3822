"""Class features of two-stage detectors."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures.bbox import bbox2roi
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from torch.testing import assert_close

from make_mini_dataset import make_dataset
from mini_dataset.digits import CLASSES
from tiny_files import truth_of
from wkd_det.costs.build import BuildOptions, build_interrelation
from wkd_det.inspection.roi_features import RoIFeatureSource, open_roi_features
from wkd_det.runtime.state import weights_hash
from wkd_det.testing import save_detector, tiny_faster_rcnn

ROOT = Path(__file__).resolve().parents[2]


NAMES = [*CLASSES, 'background']
# Rows of another batch: the sums of a convolution in float32 may be ordered otherwise.
FLOAT32 = dict(rtol=1e-4, atol=1e-5)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp('interrelation')
    make_dataset(path / 'data', train=6, val=3, size=64, seed=0)
    return path


def detector_config(kind='faster'):
    config = tiny_faster_rcnn(num_classes=10)
    if kind == 'cascade':
        head = config.roi_head.bbox_head
        heads = [dict(copy.deepcopy(head), reg_class_agnostic=stage != 1) for stage in range(3)]
        config.type = 'CascadeRCNN'
        config.roi_head.update(
            type='CascadeRoIHead', num_stages=3, stage_loss_weights=[1, 1, 1], bbox_head=heads
        )
        config.train_cfg.rcnn = [copy.deepcopy(config.train_cfg.rcnn) for _ in range(3)]
    if kind == 'mask':
        config.type = 'MaskRCNN'
        config.roi_head.update(
            mask_roi_extractor=copy.deepcopy(config.roi_head.bbox_roi_extractor),
            mask_head=dict(
                type='FCNMaskHead', num_convs=1, in_channels=16, conv_out_channels=8, num_classes=10
            ),
        )
        config.train_cfg.rcnn.mask_size = 28
        config.test_cfg.rcnn.mask_thr_binary = 0.5
    return config


def config_of(folder, kind='faster'):
    config = Config.fromfile(ROOT / 'configs/mini/faster-rcnn_teacher.py')
    config.model = detector_config(kind)
    for loader in (config.train_dataloader, config.val_dataloader, config.test_dataloader):
        loader.dataset.data_root = f'{folder}/data/'
    return config


def source_of(folder, kind='faster', **options):
    path = folder / f'{kind}.pth'
    if not path.is_file():
        save_detector(detector_config(kind), path, class_names=list(CLASSES))
    return open_roi_features(config_of(folder, kind), path, name='tiny.py', **options)


# Features


def test_features_feed_the_classifier(folder):
    source = source_of(folder)
    logits = source_of(folder, layer='logits')
    pooled = source_of(folder, layer='roi_feats')
    classifier = source.detector.roi_head.bbox_head.fc_cls
    for one, two, three, truth in zip(
        *(each.examples(range(6)) for each in (source, logits, pooled)), truth_of(folder, 'train')
    ):
        boxes, labels = truth
        assert one.features.shape[1] == 32
        assert_close(classifier(one.features), two.features, **FLOAT32)
        assert one.labels.tolist()[: len(labels)] == labels
        background = one.labels[len(labels) :]
        assert background.tolist() == [10] * len(background)
        assert 0 < len(background) <= 32  # of the sampler
        # The features of the objects are those of their own boxes.
        assert three.features.shape[1] == 16
        data = pseudo_collate([source.dataset[int(one.keys[0]) // 2**24]])
        data = source.detector.data_preprocessor(data, False)
        maps = source.detector.extract_feat(data['inputs'])
        rois = bbox2roi([torch.tensor(boxes)])
        alone = source.detector.roi_head._bbox_forward(maps, rois)
        assert_close(two.features[: len(boxes)], alone['cls_score'], **FLOAT32)
        expected = alone['bbox_feats'].mean((2, 3))
        assert_close(three.features[: len(boxes)], expected, **FLOAT32)
    assert torch.equal(source.classifier_rows(), classifier.weight)
    assert source.class_names == NAMES


def test_an_image_gives_the_same_whatever_came_before(folder):
    source = source_of(folder)
    forward = list(source.examples(range(6)))
    torch.manual_seed(5)
    state = torch.get_rng_state()
    backward = list(source.examples([5, 3, 1]))
    assert torch.equal(torch.get_rng_state(), state)
    for item, again in zip((5, 3, 1), backward):
        assert torch.equal(forward[item].features, again.features)
        assert torch.equal(forward[item].keys, again.keys)
    keys = torch.cat([one.keys for one in forward])
    assert len(keys.unique()) == len(keys)


def test_sampler_is_the_models_own_and_seeded(folder):
    """With fewer places than negatives the seed decides which of them are taken."""
    config = config_of(folder)
    config.model.train_cfg.rcnn.sampler.num = 5
    source_of(folder)  # writes the checkpoint
    options = dict(name='tiny.py')
    sources = [
        open_roi_features(config, folder / 'faster.pth', seed=seed, **options) for seed in (0, 0, 1)
    ]
    first, again, other = (list(source.examples(range(6))) for source in sources)
    assert all(int((one.labels == 10).sum()) <= 5 for one in first)
    assert all(torch.equal(one.features, two.features) for one, two in zip(first, again))
    assert not all(torch.equal(one.features, two.features) for one, two in zip(first, other))


@pytest.mark.parametrize(('kind', 'stage'), [('mask', None), ('cascade', 0), ('cascade', 2)])
def test_other_detectors(folder, kind, stage):
    source = source_of(folder, kind, stage=stage, split='val')
    distance, metadata = build_interrelation(source, BuildOptions('cosine-centroid'))
    assert distance.shape == (11, 11)
    assert metadata['stage'] == (stage or 0)
    assert metadata['counts']['background'] > 0
    head = source.detector.roi_head.bbox_head
    rows = head[stage].fc_cls.weight if kind == 'cascade' else head.fc_cls.weight
    assert torch.equal(source.classifier_rows(), rows)


def test_later_stages_see_refined_negatives(folder):
    first, last = (source_of(folder, 'cascade', stage=stage, layer='roi_feats') for stage in (0, 2))
    # Random weights regress little but not nothing: same objects, other background.
    one, two = next(first.examples([0])), next(last.examples([0]))
    objects = int((one.labels < 10).sum())
    assert torch.equal(one.features[:objects], two.features[:objects])
    assert not torch.equal(one.features[objects:], two.features[objects:])


def test_without_background_the_rpn_is_not_asked(folder):
    source = source_of(folder, background=False)
    source.detector.rpn_head = None
    examples = list(source.examples(range(6)))
    assert [one.labels.tolist() for one in examples] == [t[1] for t in truth_of(folder, 'train')]
    assert source.class_names == list(CLASSES)
    assert source.classifier_rows().shape == (10, 32)


def test_images_without_objects_give_background_only(folder):
    source = source_of(folder, split='val')
    item = source.dataset[0]
    item['data_samples'].gt_instances = item['data_samples'].gt_instances[:0]
    source.dataset = [item]
    (examples,) = source.examples([0])
    assert len(examples.labels) > 0
    assert set(examples.labels.tolist()) == {10}
    source = source_of(folder, split='val', background=False)
    source.dataset = [item]
    (examples,) = source.examples([0])
    assert examples.features.shape[0] == len(examples.labels) == len(examples.keys) == 0


def test_where_it_comes_from(folder):
    source = source_of(folder, split='val')
    description = source.describe()
    assert description.pop('weights_sha256') == weights_hash(source.detector)
    assert description == dict(
        config='tiny.py', checkpoint='faster.pth', split='val', layer='penultimate', stage=0,
        images=3,
    )  # fmt: skip


# What is refused


def single_stage():
    return MODELS.build(
        dict(
            type='RetinaNet',
            backbone=dict(type='ResNet', depth=18, base_channels=8),
            neck=dict(type='FPN', in_channels=[8, 16, 32, 64], out_channels=8, num_outs=5),
            bbox_head=dict(type='RetinaHead', num_classes=10, in_channels=8, feat_channels=8),
        )
    )


def built(kind='faster', **changes):
    config = detector_config(kind)
    config.update(changes)
    return MODELS.build(config)


def sigmoid():
    config = detector_config()
    config.roi_head.bbox_head.loss_cls = dict(type='CrossEntropyLoss', use_sigmoid=True)
    return MODELS.build(config)


@pytest.mark.parametrize(
    ('make', 'names', 'options', 'message'),
    [
        (single_stage, CLASSES, {}, 'RetinaNet has no RoI head: .* two-stage detector is needed'),
        (built, CLASSES, dict(stage=1), r'stage must lie in \[0, 1\) for StandardRoIHead, got 1'),
        (
            lambda: built('cascade'),
            CLASSES,
            {},
            'the RoI head has 3 stages: say whose .* stage=INDEX',
        ),
        (built, CLASSES, dict(layer='fc'), r"layer must be one of \('penultimate', .* got 'fc'"),
        (built, CLASSES[:3], {}, 'the detector has 10 classes and the data 3: zero, one, two'),
        (lambda: built(train_cfg=None), CLASSES, {}, 'the model has no train_cfg.rcnn'),
        (sigmoid, CLASSES, {}, 'classifies by sigmoids and has no background class'),
        (built, [*CLASSES[:9], 'background'], {}, "'background' is the name of what is no object"),
    ],
)
def test_detectors_that_do_not_fit(make, names, options, message):
    with pytest.raises(ValueError, match=message):
        RoIFeatureSource(make(), [], list(names), **options)


def test_files_that_do_not_fit(folder, tmp_path):
    source_of(folder)
    config = config_of(folder)
    config.model = config_of(folder, 'cascade').model
    with pytest.raises(ValueError, match=r'faster.pth does not fit CascadeRCNN: '):
        open_roi_features(config, folder / 'faster.pth')
    with pytest.raises(FileNotFoundError, match='absent.pth'):
        open_roi_features(config_of(folder), folder / 'absent.pth')
    save_detector(detector_config(), tmp_path / 'a.pth', class_names=list(CLASSES[::-1]))
    with pytest.raises(ValueError, match=r"data have the classes \['zero', .* \['nine', "):
        open_roi_features(config_of(folder), tmp_path / 'a.pth')
    distilled = Config.fromfile(ROOT / 'configs/mini/wkd-l.py')
    with pytest.raises(ValueError, match='DistilledFasterRCNN is a student with its teacher'):
        open_roi_features(distilled, folder / 'faster.pth')
    with pytest.raises(KeyError, match='the config has no model section'):
        open_roi_features(Config(), folder / 'faster.pth')
