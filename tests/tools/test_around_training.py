"""What surrounds training: the teacher's test, TTA, FLOPs, EMA, load_from, bad teacher files."""

import os
import pickle
import re

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config

from commands import MMDET_TOOLS, ROOT, run, sentence
from make_mini_dataset import make_dataset
from mini_dataset.digits import CLASSES
from wkd_det.testing import save_detector

DISTILLED, PLAIN = 'configs/mini/wkd-lf.py', 'configs/mini/faster-rcnn_student.py'
TEACHER = 'configs/mini/faster-rcnn_teacher.py'


@pytest.fixture(scope='module')
def workplace(tmp_path_factory):
    """Data, an untrained teacher and student, and the options that point the configs there."""
    folder = tmp_path_factory.mktemp('around')
    make_dataset(folder / 'data', train=8, val=4, size=96, seed=0)
    teacher = Config.fromfile(ROOT / TEACHER).model
    save_detector(teacher, folder / 'teacher.pth', class_names=list(CLASSES))
    distilled = Config.fromfile(ROOT / DISTILLED).model
    distilled.teacher = dict(config=teacher, checkpoint=str(folder / 'teacher.pth'))
    model = MODELS.build(distilled)
    model.init_weights()
    torch.save(dict(state_dict=model.state_dict(), meta={}), folder / 'student.pth')
    data = folder / 'data'
    options = [
        '--cfg-options',
        *(f'{part}_dataloader.dataset.data_root={data}/' for part in ('train', 'val', 'test')),
        f'val_evaluator.ann_file={data}/annotations/instances_val.json',
        f'test_evaluator.ann_file={data}/annotations/instances_val.json',
        'train_dataloader.batch_size=4',
        'train_cfg.max_iters=2',
        'train_cfg.val_interval=2',
        'model.test_cfg.rcnn.score_thr=0.0',
    ]
    return folder, options


def teacher_at(path):
    return f'model.teacher.checkpoint={path}'


# The teacher's test


def test_teacher_is_tested_without_a_student(workplace):
    folder, options = workplace
    output = run(
        'tools/test.py', DISTILLED, '--teacher', '--work-dir', folder / 'teacher',
        '--out', folder / 'by-us.pkl', *options, teacher_at(folder / 'teacher.pth'),
        'model.teacher.overrides.test_cfg.rcnn.score_thr=0.0',
    )  # fmt: skip
    run(
        MMDET_TOOLS / 'test.py', TEACHER, folder / 'teacher.pth', '--work-dir', folder / 'direct',
        '--out', folder / 'direct.pkl', *options,
    )  # fmt: skip
    assert 'teacher: loaded' in output
    assert 'coco/bbox_mAP' in output
    ours, direct = (
        pickle.loads((folder / name).read_bytes()) for name in ('by-us.pkl', 'direct.pkl')
    )
    assert len(ours) == 4
    for one, other in zip(ours, direct):
        assert len(one['pred_instances']['scores']) > 0
        for key in ('bboxes', 'scores', 'labels'):
            assert torch.equal(one['pred_instances'][key], other['pred_instances'][key])


@pytest.mark.parametrize(
    ('config', 'file', 'message'),
    [
        (PLAIN, None, 'has no teacher: model.teacher is not set'),
        (DISTILLED, 'nowhere.pth', 'checkpoint not found'),
        (DISTILLED, 'student.pth', 'does not fit FasterRCNN'),
        (DISTILLED, 'renamed.pth', "the test data have the classes .* and the teacher has ['a', "),
    ],
)
def test_teacher_that_cannot_be_tested(workplace, config, file, message):
    folder, options = workplace
    content = torch.load(folder / 'teacher.pth', weights_only=True)
    torch.save(
        dict(content, meta=dict(dataset_meta=dict(classes=list('abcdefghij')))),
        folder / 'renamed.pth',
    )
    extra = [] if file is None else [teacher_at(folder / file)]
    output = run('tools/test.py', config, '--teacher', *options, *extra, code=1)
    assert all(part in sentence(output) for part in message.split(' .* '))


ORDER = [3, 0, 9, 1, 2, 8, 7, 4, 6, 5]
"""Of each class of the other teacher, its index among those of the data."""


def reordered(state, more):
    """The same detector with its classes in another order, and some more that it never finds."""
    for name, rows in (('fc_cls', 1), ('fc_reg', 4)):
        for part in ('weight', 'bias'):
            key = f'roi_head.bbox_head.{name}.{part}'
            groups = [state[key][rows * i : rows * (i + 1)] for i in range(10)]
            rest = state[key][10 * rows :]  # background
            extra = torch.zeros_like(torch.cat(groups[:1] * more)) if more else rest[:0]
            if name == 'fc_cls' and part == 'bias':
                extra -= 100
            state[key] = torch.cat([*(groups[i] for i in ORDER), extra, rest])
    return state


@pytest.mark.parametrize('joined', [False, True], ids=['one set', 'joined'])
@pytest.mark.parametrize('more', [0, 2])
def test_teacher_of_other_order_and_more_classes(workplace, more, joined):
    """mAP and detections are those of the same teacher in the order of the data."""
    folder, options = workplace
    content = torch.load(folder / 'teacher.pth', weights_only=True)
    names = [*(CLASSES[i].title() for i in ORDER), *['car', 'bus'][:more]]
    meta = dict(dataset_meta=dict(classes=names))
    state = reordered(content['state_dict'], more)
    torch.save(dict(state_dict=state, meta=meta), folder / 'other.pth')
    config = Config.fromfile(ROOT / DISTILLED)
    config.model.teacher.config = Config.fromfile(ROOT / TEACHER).model
    config.model.teacher.classes = 'subset' if more else 'same'
    if joined:
        one = config.test_dataloader.dataset
        one.data_root = f'{folder}/data/'
        config.test_dataloader.dataset = dict(
            type='RepeatDataset', times=1, dataset=dict(type='ConcatDataset', datasets=[one])
        )
        options = [option for option in options if 'test_dataloader' not in option]
    config.dump(folder / 'other.py')
    found = {}
    for name, more_options in (
        ('teacher', ['model.teacher.classes=same']),
        ('other', [f'model.teacher.overrides.roi_head.bbox_head.num_classes={10 + more}']),
    ):
        output = run(
            'tools/test.py', folder / 'other.py', '--teacher', '--work-dir', folder / 'other',
            '--out', folder / f'{name}.pkl', *options, teacher_at(folder / f'{name}.pth'),
            'model.teacher.overrides.test_cfg.rcnn.score_thr=0.01', *more_options,
        )  # fmt: skip
        found[name] = pickle.loads((folder / f'{name}.pkl').read_bytes())
        found[f'{name} mAP'] = re.findall(r'coco/bbox_mAP\w*: [-\d.]+', output)
    assert found['teacher mAP'] == found['other mAP'] != []
    for one, other in zip(found['teacher'], found['other']):
        one, other = one['pred_instances'], other['pred_instances']
        assert len(one['scores']) == len(other['scores']) > 0
        torch.testing.assert_close(other['scores'], one['scores'], rtol=0, atol=1e-6)
        pairs, others = (
            sorted(zip(each['labels'].tolist(), each['scores'].tolist())) for each in (one, other)
        )
        assert [label for label, _ in pairs] == [label for label, _ in others]


def test_teacher_of_more_classes_has_to_be_asked_for(workplace):
    folder, options = workplace
    content = torch.load(folder / 'teacher.pth', weights_only=True)
    meta = dict(dataset_meta=dict(classes=[*CLASSES, 'car']))
    torch.save(dict(state_dict=reordered(content['state_dict'], 1), meta=meta), folder / 'more.pth')
    output = run(
        'tools/test.py', DISTILLED, '--teacher', *options, teacher_at(folder / 'more.pth'),
        'model.teacher.overrides.roi_head.bbox_head.num_classes=11', code=1,
    )  # fmt: skip
    assert sentence(output).startswith('error: the test data have the classes [')
    assert sentence(output).endswith(
        "'car']; one that has more is taken with teacher.classes='subset'"
    )


def test_teacher_of_a_classifier_is_tested(tmp_path):
    teacher = Config.fromfile(ROOT / 'configs/classification/digits/baseline/resnet20_teacher.py')
    torch.save(MODELS.build(teacher.model).network.state_dict(), tmp_path / 'network.pth')
    output = run(
        'tools/test.py', 'configs/classification/digits/wkd-l_digits.py', '--teacher',
        '--work-dir', tmp_path, '--cfg-options', teacher_at(tmp_path / 'network.pth'),
    )  # fmt: skip
    assert re.search(r'top1: [\d.]+', output)


def test_one_of_several_teachers_is_tested(tmp_path):
    config = Config.fromfile(ROOT / 'configs/classification/digits/wkd-l_digits.py')
    teacher = Config.fromfile(ROOT / 'configs/classification/digits/baseline/resnet20_teacher.py')
    torch.save(MODELS.build(teacher.model).network.state_dict(), tmp_path / 'network.pth')
    section = dict(config.model.pop('teacher'), checkpoint=str(tmp_path / 'network.pth'))
    config.model.teachers = dict(lost=dict(section, checkpoint='nowhere.pth'), found=section)
    config.dump(tmp_path / 'config.py')
    arguments = ['tools/test.py', tmp_path / 'config.py', '--work-dir', tmp_path]
    assert re.search(r'top1: [\d.]+', run(*arguments, '--teacher=found'))
    output = run(*arguments, '--teacher', code=1)
    assert sentence(output) == (
        'error: there are the teachers found, lost: say which by --teacher=NAME'
    )


# MMDetection's tools on a distilled config


def test_test_time_augmentation_equals_that_of_the_plain_config(workplace):
    folder, options = workplace
    metrics = {}
    for config in (DISTILLED, PLAIN):
        output = run(
            MMDET_TOOLS / 'test.py', config, folder / 'student.pth', '--tta',
            '--work-dir', folder / 'tta', *options,
        )  # fmt: skip
        metrics[config] = re.findall(r'coco/bbox_mAP\w*: [-\d.]+', output)
    assert metrics[DISTILLED] == metrics[PLAIN] != []


def test_get_flops_counts_the_student_alone(workplace):
    _, options = workplace
    flops = [
        re.findall(
            r'^Flops: .*',
            run(MMDET_TOOLS / 'analysis_tools/get_flops.py', config, '--num-images', 1, *options),
            re.MULTILINE,
        )
        for config in (DISTILLED, PLAIN)
    ]
    assert flops[0] == flops[1] != []


def test_moving_average_trains_and_its_checkpoint_exports(workplace):
    folder, options = workplace
    lines = f"_base_ = '{ROOT / DISTILLED}'", "custom_hooks = [dict(type='EMAHook')]"
    (folder / 'ema.py').write_text('\n'.join(lines))
    run(
        'tools/train.py', folder / 'ema.py', '--work-dir', folder / 'ema', *options,
        teacher_at(folder / 'teacher.pth'),
    )  # fmt: skip
    checkpoint = folder / 'ema/iter_2.pth'
    assert 'ema_state_dict' in torch.load(checkpoint, weights_only=True)
    run('tools/export_student.py', checkpoint, '--output', folder / 'exported', '--ema', 'averaged')
    output = run(
        MMDET_TOOLS / 'test.py', folder / 'exported/student.py', folder / 'exported/student.pth',
        '--work-dir', folder / 'exported/work',
    )  # fmt: skip
    assert 'coco/bbox_mAP' in output


def test_load_from_takes_a_plain_student(workplace):
    """In the first step the losses are those of its weights: nothing was ignored."""
    folder, options = workplace
    plain = MODELS.build(Config.fromfile(ROOT / PLAIN).model)
    plain.init_weights()
    torch.save(dict(state_dict=plain.state_dict(), meta={}), folder / 'pretrained.pth')
    run(
        'tools/train.py', DISTILLED, '--work-dir', folder / 'loaded', *options,
        teacher_at(folder / 'teacher.pth'), f'load_from={folder}/pretrained.pth',
        'optim_wrapper.optimizer.lr=0.0', 'optim_wrapper.optimizer.weight_decay=0.0',
    )  # fmt: skip
    state = torch.load(folder / 'loaded/iter_2.pth', weights_only=True)['state_dict']
    for name, value in plain.named_parameters():
        assert torch.equal(state[name], value), name


# Teachers that are no weights


class Touch:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f'touch {self.path}',)


@pytest.mark.parametrize(
    ('name', 'message'),
    [('evil.pth', 'was refused'), ('page.pth', 'is a text page, not a checkpoint')],
)
def test_teacher_file_that_is_no_weights_ends_training_in_one_sentence(workplace, name, message):
    folder, options = workplace
    content = torch.load(folder / 'teacher.pth', weights_only=True)
    torch.save(dict(content, more=Touch(folder / 'marker')), folder / 'evil.pth')
    (folder / 'page.pth').write_text('<!DOCTYPE html><html><body>404</body></html>')
    output = run(
        'tools/train.py', DISTILLED, '--work-dir', folder / 'bad', *options,
        teacher_at(folder / name), code=1,
    )  # fmt: skip
    assert sentence(output).startswith(f'error: {folder / name} {message}')
    assert not (folder / 'marker').exists()
    assert not re.search(r'Iter\(train\)', output)
