"""A stored teacher says what the live one does: every loss of logits, maps, a resumed run."""

import copy
import re
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from wkd_det import registry
from wkd_det.classification import stored
from wkd_det.classification.arrays import ArraysDataset
from wkd_det.classification.data import collate_images
from wkd_det.classification.stored import StoredTeacher, check_stored, stored_path
from wkd_det.classification.storing import store_teacher
from wkd_det.classification.targets import Targets
from wkd_det.losses import KDLoss
from wkd_det.testing import (
    class_logits_term,
    classifier_config,
    module_term,
    save_classifier,
)

CLASSES = 4
COUNT = 3  # of the augmentations
IMAGES = 12
MAPS = ('layer2', 'pool:input')
AUGMENTED = dict(
    split='train',
    batched=True,
    augmentations=COUNT,
    transforms=[dict(type='RandomCrop', size=16, padding=2), dict(type='RandomHorizontalFlip')],
)
# The same values through kernels for another number of images: float32 sums in another order.
CLOSE = dict(rtol=1e-4, atol=1e-5)
LOGIT_LOSSES = {
    'KDLoss': dict(temperature=4.0),
    'DKDLoss': {},
    'DISTLoss': {},
    'NKDLoss': {},
    'WTTMLoss': {},
    'WSLDLoss': {},
}


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Images, a teacher and its stored logits."""
    folder = tmp_path_factory.mktemp('stored')
    images = np.random.default_rng(0).integers(0, 256, (IMAGES, 16, 16, 3)).astype(np.uint8)
    names = [f'class {label}' for label in range(CLASSES)]
    labels = np.arange(IMAGES) % CLASSES
    np.savez(folder / 'images.npz', train_images=images, train_labels=labels, classes=names)
    save_classifier(classifier_config('resnet14', CLASSES), folder / 'teacher.pth')
    save_classifier(classifier_config('resnet14', CLASSES), folder / 'other.pth', seed=5)
    store_teacher(
        model_of(folder), data_of(folder), folder / 'stored', maps=MAPS, say=lambda line: None
    )
    return folder


def data_of(folder, **changes):
    return ArraysDataset(str(folder / 'images.npz'), **dict(AUGMENTED, **changes))


def stored_of(folder, **changes):
    return data_of(folder, **dict(dict(stored_teacher=str(folder / 'stored')), **changes))


def model_of(folder, distill=None, teacher='teacher.pth', **changes):
    section = dict(config=classifier_config('resnet14', CLASSES), checkpoint=str(folder / teacher))
    distill = distill or dict(loss_kd=dict(tap='logits', loss=dict(type='KDLoss')))
    config = classifier_config(
        'resnet8', CLASSES, image_size=16, teacher=section, distill=distill, **changes
    )
    torch.manual_seed(0)
    model = registry.build(dict(config, type='DistilledClassifier'))
    model.init_weights()
    return model.train()


def live_of(model, images, modules=('',)):
    return model.teacher_outputs(images, modules)


def batch_of(dataset, seed=0):
    torch.manual_seed(seed)
    return collate_images(dataset.__getitems__(list(range(len(dataset)))))


# What is stored


def test_a_batch_carries_what_the_teacher_says_of_these_very_pixels(folder):
    model = model_of(folder)
    batch = batch_of(stored_of(folder))
    images, targets = model.data_preprocessor(batch, True)
    torch.testing.assert_close(targets.stored, live_of(model, images), **CLOSE)
    assert targets.stored[''].shape == (IMAGES, CLASSES)
    shuffled = batch['stored'][''].roll(1, dims=0)
    assert not torch.allclose(shuffled, targets.stored[''], **CLOSE)


def test_each_augmentation_is_drawn_and_stays_what_it_is(folder):
    dataset = stored_of(folder)
    seen = {}
    for seed in range(20):
        batch = batch_of(dataset, seed)
        for place in range(IMAGES):
            key = place, batch['images'][place].numpy().tobytes()
            before = seen.setdefault(key, batch['stored'][''][place])
            assert torch.equal(before, batch['stored'][''][place])
    expected = {
        (place, image.numpy().tobytes())
        for number in range(COUNT)
        for place, image in enumerate(dataset.augmented(range(IMAGES), number))
    }
    assert set(seen) == expected
    plain = batch_of(data_of(folder))
    assert torch.equal(plain[0], batch_of(dataset)['images'])  # the same draw without logits


def test_parts_of_the_images_share_the_files_and_the_augmentations(folder):
    whole, part = stored_of(folder), stored_of(folder, per_class=2, seed=1, augmentations=2)
    assert len(part) == 2 * CLASSES
    for number in range(2):
        both = whole.augmented(part.places, number), part.augmented(range(len(part)), number)
        assert torch.equal(*both)
        chosen = torch.full((len(part),), number)
        rows = [one._stored(chosen, where) for one, where in (
            (whole, part.places), (part, np.arange(len(part))),
        )]  # fmt: skip
        assert all(torch.equal(one[''], other['']) for one, other in zip(*rows, strict=True))


def test_half_precision_is_off_by_a_2048th(folder, tmp_path):
    store_teacher(
        model_of(folder), data_of(folder), tmp_path, half=True, batch_size=5, say=lambda line: None
    )
    whole = batch_of(stored_of(folder))['stored']['']
    half = batch_of(stored_of(folder, stored_teacher=str(tmp_path)))['stored']['']
    assert half.dtype == torch.float16
    # Beside the rounding, batches of 5 images.
    torch.testing.assert_close(half.float(), whole, rtol=2**-11 + 1e-4, atol=1e-5)


def test_an_interrupted_call_goes_on_and_more_are_added(folder, tmp_path):
    model, said = model_of(folder), []
    store_teacher(model, data_of(folder, augmentations=1), tmp_path, say=said.append)
    first = stored_path(tmp_path, '', 0)
    content = first.read_bytes()
    store_teacher(model, data_of(folder, augmentations=2), tmp_path, say=said.append)
    assert said == [
        f'wrote {first}: {IMAGES} images, {CLASSES} values each',
        f'{first} is there',
        f'wrote {stored_path(tmp_path, "", 1)}: {IMAGES} images, {CLASSES} values each',
    ]
    assert first.read_bytes() == content == stored_path(folder / 'stored', '', 0).read_bytes()


# What is trained with them


def live_and_stored(folder, distill, **changes):
    """Losses of one batch, with the teacher at work and with what it has said."""
    found = []
    for keep in (False, True):
        model = model_of(folder, distill, **changes)
        batch = batch_of(stored_of(folder, with_index=True))
        if not keep:
            del batch['stored']
        images, targets = model.data_preprocessor(batch, True)
        found.append(model(images, targets, mode='loss'))
    return found


@pytest.mark.parametrize('name', [*LOGIT_LOSSES, 'WKDLogitLoss'])
def test_every_logit_loss_is_that_of_the_live_teacher(folder, name):
    loss = dict(LOGIT_LOSSES.get(name, {}), type=name)
    term = class_logits_term() if name == 'WKDLogitLoss' else dict(tap='logits', loss=loss)
    live, kept = live_and_stored(folder, dict(loss_logits=term))
    assert live.keys() == kept.keys()
    for key, value in live.items():
        torch.testing.assert_close(kept[key], value, **CLOSE)
    assert live['loss_logits'] > 0


def test_the_teacher_runs_on_eight_images_of_the_first_batch_and_never_again(folder):
    model = model_of(folder)
    rows = []
    model.distiller.teacher.module.network.register_forward_hook(
        lambda *call: rows.append(len(call[2]))
    )
    dataset = stored_of(folder)
    for seed in range(3):
        images, targets = model.data_preprocessor(batch_of(dataset, seed), True)
        model(images, targets, mode='loss')
    assert rows == [8]


def test_a_teacher_whose_maps_are_read_runs_and_gives_the_logits_too(folder, monkeypatch):
    said = []
    monkeypatch.setattr(stored, 'print_log', lambda text, **options: said.append(text))
    terms = dict(loss_kd=dict(tap='logits', loss=dict(type='KDLoss')), loss_map=module_term())
    live, kept = live_and_stored(folder, terms)
    assert said == [
        'the stored teacher is left aside: terms read layer3, which is not stored, and the teacher '
        'runs on every batch'
    ]
    assert all(torch.equal(kept[key], value) for key, value in live.items())


def test_a_map_that_is_stored_needs_no_teacher_either(folder):
    terms = dict(
        loss_kd=dict(tap='logits', loss=dict(type='KDLoss')),
        loss_map=module_term('pool:input'),
        loss_middle=module_term('layer2', loss=dict(type='FitNetLoss')),
    )
    rows, losses = [], []
    for maps in ((), MAPS):
        model = model_of(folder, terms)
        model.distiller.teacher.module.network.register_forward_hook(
            lambda *call: rows.append(len(call[2]))
        )
        for seed in range(2):
            batch = batch_of(stored_of(folder, stored_maps=maps), seed)
            images, targets = model.data_preprocessor(batch, True)
            losses.append(model(images, targets, mode='loss'))
    assert rows == [IMAGES, IMAGES, 8]  # at work, and asked once
    for live, kept in zip(losses[:2], losses[2:], strict=True):
        for key, value in live.items():
            torch.testing.assert_close(kept[key], value, **CLOSE)


def test_each_map_is_checked(folder, tmp_path):
    for name in ('', 'layer2'):
        for number in range(COUNT):
            path = stored_path(folder / 'stored', name, number)
            (tmp_path / path.name).write_bytes(path.read_bytes())
    content = stored_path(tmp_path, 'layer2', 0).read_bytes()
    for number in range(1, COUNT):  # the map of another augmentation, under the same notes
        stored_path(tmp_path, 'layer2', number).write_bytes(content)
    term = module_term('layer2', loss=dict(type='FitNetLoss'))
    model = model_of(folder, dict(loss_map=term))
    dataset = stored_of(folder, stored_teacher=str(tmp_path), stored_maps=['layer2'])
    images, targets = model.data_preprocessor(batch_of(dataset), True)
    message = "the stored output 'layer2' is not that of the teacher: image"
    with pytest.raises(ValueError, match=f'^{message}'):
        model(images, targets, mode='loss')


def test_a_map_that_the_teacher_lacks(folder, tmp_path):
    message = "the teacher CifarResNet has no such module: got 'layer9'; near matches are"
    with pytest.raises(KeyError, match=message):
        store_teacher(model_of(folder), data_of(folder), tmp_path, maps=['layer9'])
    with pytest.raises(ValueError, match='^stored_maps needs stored_teacher$'):
        data_of(folder, stored_maps=['layer2'])


def test_a_teacher_in_another_order_of_the_classes(folder, tmp_path):
    names = [f'class {label}' for label in (2, 0, 3, 1)]
    section = dict(
        config=classifier_config('resnet14', CLASSES),
        checkpoint=str(folder / 'teacher.pth'),
        class_names=names,
    )
    config = classifier_config(
        'resnet8',
        CLASSES,
        image_size=16,
        teacher=section,
        distill=dict(loss_kd=dict(tap='logits', loss=dict(type='KDLoss'))),
    )
    losses = []
    for keep in (True, False):
        torch.manual_seed(0)
        model = registry.build(dict(config, type='DistilledClassifier'))
        with mock.patch.object(type(model), 'num_classes_of', return_value=CLASSES):
            model.init_weights()
        batch = batch_of(stored_of(folder))
        if not keep:
            batch = [batch['images'], batch['labels']]
        images, targets = model.data_preprocessor(batch, True)
        losses.append(model(images, targets, mode='loss')['loss_kd'])
    torch.testing.assert_close(*losses, **CLOSE)


def train(folder, work_dir, dataset=None, distill=None, **options):
    """Two epochs of two batches; the draws come from the run's generator."""
    dataset = dataset or stored_of(folder)
    runner = Runner(
        model=copy.deepcopy(model_of(folder, distill)),
        work_dir=str(work_dir),
        train_dataloader=dict(
            batch_size=6,
            num_workers=0,
            dataset=dataset,
            sampler=dict(type='DefaultSampler', shuffle=True),
            collate_fn=dict(type='collate_images'),
        ),
        train_cfg=dict(by_epoch=True, max_epochs=2),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        default_hooks=dict(checkpoint=dict(type='ExactCheckpointHook', interval=1)),
        default_scope='mmengine',
        randomness=dict(seed=3),
        experiment_name=work_dir.name,
        **options,
    )
    runner.train()
    return runner.model.state_dict()


def test_a_resumed_run_is_the_uninterrupted_one(folder, tmp_path):
    whole = train(folder, tmp_path / 'whole')
    first = str(tmp_path / 'whole/epoch_1.pth')
    resumed = train(folder, tmp_path / 'resumed', resume=True, load_from=first)
    assert all(torch.equal(value, resumed[key]) for key, value in whole.items())


# Images that are resized before the student sees them


def smaller(model, dataset, side=12):
    """A batch of smaller images, as ImageSizeHook has them made."""
    model.data_preprocessor.train_size = side
    return model.data_preprocessor(batch_of(dataset), True)


def test_what_is_stored_belongs_to_the_whole_images(folder):
    model = model_of(folder)
    rows = []
    model.distiller.teacher.module.network.register_forward_hook(
        lambda _, inputs, output: rows.append(tuple(inputs[0].shape))
    )
    images, targets = smaller(model, stored_of(folder))
    assert images.shape[-1] == 12
    losses = model(images, targets, mode='loss')
    assert rows == [(8, 3, 16, 16)]
    whole, _ = model.data_preprocessor(batch_of(stored_of(folder)), False)
    assert torch.equal(targets.whole, whole)
    with torch.no_grad():
        expected = KDLoss()(model.network(images), live_of(model, whole)[''])
    torch.testing.assert_close(losses['loss_kd'].detach(), expected, **CLOSE)


def test_images_that_keep_their_size_are_not_kept_twice(folder):
    model = model_of(folder)
    assert smaller(model, stored_of(folder), side=16)[1].whole is None
    assert not isinstance(smaller(model, data_of(folder))[1], Targets)


def test_another_teacher_is_found_out_on_the_whole_images(folder):
    model = model_of(folder, teacher='other.pth')
    message = "the stored output 'logits' is not that of the teacher: image"
    with pytest.raises(ValueError, match=f'^{message}'):
        model(*smaller(model, stored_of(folder)), mode='loss')


def test_a_stored_vector_goes_with_smaller_images_and_a_map_does_not(folder, tmp_path):
    store_teacher(
        model_of(folder), data_of(folder), tmp_path, maps=['pool', *MAPS], say=lambda line: None
    )
    pooled = model_of(folder, dict(loss_pool=module_term('pool', loss=dict(type='FitNetLoss'))))
    dataset = stored_of(folder, stored_teacher=str(tmp_path), stored_maps=['pool', *MAPS])
    assert pooled(*smaller(pooled, dataset), mode='loss')['loss_pool'] > 0
    mapped = model_of(folder, dict(loss_map=module_term('layer2', loss=dict(type='FitNetLoss'))))
    images, targets = mapped.data_preprocessor(batch_of(dataset), True)
    assert mapped(images, targets, mode='loss')['loss_map'] > 0  # of the whole images
    message = (
        "the stored output 'layer2' is a map of images of 16 x 16 pixels, and ImageSizeHook makes "
        'those of the batch 12 x 12: leave out the hook, or take the map out of stored_maps, and '
        'the teacher runs on the resized images'
    )
    with pytest.raises(ValueError, match=f'^{re.escape(message)}$'):
        mapped(*smaller(mapped, dataset), mode='loss')
    without = stored_of(folder, stored_teacher=str(tmp_path))
    mapped = model_of(folder, dict(loss_map=module_term('layer2', loss=dict(type='FitNetLoss'))))
    assert mapped(*smaller(mapped, without), mode='loss')['loss_map'] > 0  # by a teacher at work


def test_the_options_of_the_docs_train_together(folder, tmp_path):
    text = (Path(__file__).parents[2] / 'docs/classification.md').read_text()
    block = text.split('## Cheap steps')[1].split('```python\n')[1].split('```')[0]
    options = {}
    exec(block, options)
    written = dict(options['train_dataloader']['dataset'])
    del written['type'], written['data_root']
    written['transforms'][0] = AUGMENTED['transforms'][0]  # crops of 16 pixels
    images = str(folder / 'images.npz')
    plain = ArraysDataset(images, **dict(written, stored_teacher=None, stored_maps=()))
    store_teacher(
        model_of(folder),
        plain,
        tmp_path / 'stored',
        maps=written.get('stored_maps', ()),
        say=lambda line: None,
    )
    dataset = ArraysDataset(images, **dict(written, stored_teacher=str(tmp_path / 'stored')))
    (hook,) = options['custom_hooks']
    hook['sizes'] = [(0, 12), (1, 16)]
    train(folder, tmp_path / 'run', dataset, custom_hooks=[hook])


# What is refused


def test_logits_of_another_teacher(folder):
    model = model_of(folder, teacher='other.pth')
    images, targets = model.data_preprocessor(batch_of(stored_of(folder)), True)
    message = "the stored output 'logits' is not that of the teacher: image"
    with pytest.raises(ValueError, match=f'^{message}'):
        model(images, targets, mode='loss')


@pytest.mark.parametrize(
    ('kept', 'live', 'message'),
    [
        (
            [[1.0, 8.0], [2.0, 4.0]],
            [[1.0, 8.0], [2.0, 4.5]],
            "the stored output 'logits' is not that of the teacher: image 1 of the batch differs "
            'by 0.5, its largest value is 4.5. Teacher, images or augmentations are others than '
            'those that were stored: write it anew, python tools/store_teacher.py CONFIG --force',
        ),
        (
            [[1.0, 8.0, 0.0]],
            [[1.0, 8.0]],
            "the stored output 'logits' has the shape (1, 3), the teacher gives (1, 2): write it "
            'anew, python tools/store_teacher.py CONFIG --force',
        ),
    ],
)
def test_logits_that_differ(kept, live, message):
    with pytest.raises(ValueError, match=f'^{re.escape(message)}$'):
        check_stored('logits', torch.tensor(kept), torch.tensor(live))
    check_stored('logits', torch.tensor(live).half(), torch.tensor(live) * (1 + 2**-11))


def test_a_logit_that_is_not_a_number_is_another_one():
    live = torch.tensor([[1.0, 8.0]])
    with pytest.raises(ValueError, match='differs by nan, its largest value is 8'):
        check_stored('logits', live.masked_fill(live < 2, float('nan')), live)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (
            dict(augmentation_seed=1),
            '{first} was stored for seed 0, the data set has 1: write it anew, '
            'python tools/store_teacher.py CONFIG --force',
        ),
        (
            dict(transforms=[]),
            '{first} was stored for transforms '
            "[{{'padding': 2, 'size': 16, 'type': 'RandomCrop'}}, "
            "{{'type': 'RandomHorizontalFlip'}}], the data set has []: write it anew, "
            'python tools/store_teacher.py CONFIG --force',
        ),
        (dict(augmentations=None), 'stored_teacher needs augmentations'),
        (
            dict(batched=False, stored_teacher=None),
            'augmentations needs batched=True',
        ),
        (
            dict(augmentations=0, stored_teacher=None),
            'augmentations must be an integer of at least 1, got 0',
        ),
    ],
)
def test_data_sets_that_do_not_fit(folder, changes, message):
    message = message.format(first=stored_path(folder / 'stored', '', 0))
    with pytest.raises(ValueError, match=f'^{re.escape(message)}$'):
        stored_of(folder, **changes)


def test_files_that_lack_something(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lacking = stored_path(folder / 'stored', '', COUNT)
    message = (
        f'no stored teacher {lacking} (from {tmp_path}): write it by '
        'python tools/store_teacher.py CONFIG, with the config that trains on it'
    )
    with pytest.raises(FileNotFoundError, match=f'^{re.escape(message)}$'):
        stored_of(folder, augmentations=COUNT + 1)
    store_teacher(
        model_of(folder), data_of(folder, per_class=1), tmp_path / 'part', say=lambda line: None
    )
    first = stored_path(tmp_path / 'part', '', 0)
    message = (
        f'{first} lacks 8 of the 12 images of the data set: write it anew for all of them, '
        'python tools/store_teacher.py CONFIG --force'
    )
    with pytest.raises(ValueError, match=f'^{re.escape(message)}$'):
        stored_of(folder, stored_teacher=str(tmp_path / 'part'))
    first.write_bytes(b'{}')
    with pytest.raises(ValueError, match=f'^{re.escape(str(first))} holds no stored teacher: '):
        stored_of(folder, stored_teacher=str(tmp_path / 'part'), per_class=1)


def test_files_of_other_images(folder, tmp_path):
    store = partial(store_teacher, model_of(folder), say=lambda line: None)
    store(data_of(folder, per_class=1), tmp_path / 'one')
    store(data_of(folder, per_class=2), tmp_path / 'two')
    second = stored_path(tmp_path / 'one', '', 1)
    second.write_bytes(stored_path(tmp_path / 'two', '', 1).read_bytes())
    message = f'{second} holds other images than {stored_path(tmp_path / "one", "", 0)}'
    made_by = data_of(folder).made_by
    with pytest.raises(ValueError, match=f'^{re.escape(message)}$'):
        StoredTeacher(tmp_path / 'one', [''], 2, data_of(folder, per_class=1).places, made_by)


@pytest.mark.parametrize(
    ('changes', 'error', 'message'),
    [
        (
            dict(augmentations=None),
            ValueError,
            'a stored teacher needs fixed augmentations: set augmentations in the training data '
            'set',
        ),
        (
            dict(augmentation_seed=1),
            ValueError,
            '{first} was stored for seed 0, and not 1: --force replaces it',
        ),
    ],
)
def test_what_cannot_be_stored(folder, changes, error, message):
    message = message.format(first=stored_path(folder / 'stored', '', 0))
    with pytest.raises(error, match=f'^{re.escape(message)}$'):
        store_teacher(model_of(folder), data_of(folder, **changes), folder / 'stored')


def test_models_and_data_of_another_kind(folder):
    alone = dict(loss_ls=dict(tap='logits', loss=dict(type='LabelSmoothingLoss')))
    with pytest.raises(ValueError, match='^no term of the model needs a teacher$'):
        store_teacher(model_of(folder, alone), data_of(folder), folder / 'stored')
    message = (
        'a stored teacher needs a data set of images in arrays (CIFAR100Dataset, ArraysDataset), '
        'got list'
    )
    with pytest.raises(TypeError, match=f'^{re.escape(message)}$'):
        store_teacher(model_of(folder), [], folder / 'stored')
    with pytest.raises(ValueError, match=r'^the data set has 3 fixed augmentations, got 3$'):
        data_of(folder).augmented([0], 3)


def test_mixtures_have_no_stored_teacher(folder):
    model = model_of(folder, data_preprocessor=dict(type='ImagePreprocessor', mixup=MIXUP))
    message = 'mixup makes images that no teacher has seen: take stored_teacher out of the data set'
    with pytest.raises(ValueError, match=f'^{re.escape(message)}$'):
        model.data_preprocessor(batch_of(stored_of(folder)), True)


MIXUP = dict(mixup_alpha=0.8)


def test_a_loader_with_workers_draws_and_carries_the_same(folder):
    loader = DataLoader(
        stored_of(folder), batch_size=IMAGES, num_workers=1, collate_fn=collate_images
    )
    model = model_of(folder)
    (batch,) = loader
    images, targets = model.data_preprocessor(batch, True)
    torch.testing.assert_close(targets.stored, live_of(model, images), **CLOSE)


def test_a_plain_classifier_leaves_them_aside(folder):
    torch.manual_seed(0)
    plain = registry.build(classifier_config('resnet8', CLASSES)).train()
    images, targets = plain.data_preprocessor(batch_of(stored_of(folder)), True)
    with_them = plain(images, targets, mode='loss')['loss_ce']
    assert torch.equal(with_them, plain(images, targets.labels, mode='loss')['loss_ce'])
