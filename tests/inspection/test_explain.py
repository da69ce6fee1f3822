"""The command ``explain`` on detectors on disk, as a user has them."""

from __future__ import annotations

import copy

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config

from commands import MMDET_TOOLS, run, sentence
from pairs import explain, write_detectors, write_retinanet
from wkd_det.inspection.pairs.pair import open_pair
from wkd_det.runtime.mistakes import sentence_of

SMALL = ('--size', '64')


@pytest.fixture(scope='module')
def pair(tmp_path_factory):
    """Folder of a student, a one-stage student and a teacher with its weights."""
    folder = tmp_path_factory.mktemp('pair')
    write_detectors(folder)
    write_retinanet(folder)
    return folder


def with_teacher(pair, student='student.py', checkpoint='teacher.pth'):
    return (pair / student, '--teacher', pair / 'teacher.py', '--checkpoint', pair / checkpoint)


@pytest.fixture(scope='module')
def written(pair):
    """Output of the command that writes ``sub/distilled.py`` and draws ``pair.png``."""
    return explain(
        *with_teacher(pair),
        *('--method', 'wkd-lf', '--size', '128'),
        *('--write', pair / 'sub/distilled.py', '--picture', pair / 'pair.png'),
    )


def test_report_has_places_classes_input_cost_and_methods(written):
    lines = written.splitlines()
    assert max(map(len, lines)) <= 100 or 'tmp' in max(lines, key=len)  # paths are as they are
    assert '  neck         level 3     32      32  8 x 8    level 3     48      32  8 x 8' in lines
    assert '  roi_logits   on RoIs     11                   on RoIs     11' in lines
    assert '  shared: 10 (zero, one, two, three, four, five, six, seven and 2 more)' in lines
    assert 'Input (nothing differs)' in lines
    assert any(line.startswith('  teacher, backbone and neck ') for line in lines)
    assert any(line.startswith('  wkd-lf           loss_wkd_l ') for line in lines)
    assert 'wkd-lf trains: everything before the first step has been run.' in lines


def test_a_student_of_several_teachers_is_no_pair(pair, tmp_path):
    path = tmp_path / 'several.py'
    path.write_text(
        f"_base_ = '{pair / 'student.py'}'\nmodel = dict(teachers=dict(one=dict(config='x.py')))\n"
    )
    with pytest.raises(ValueError, match='several teachers, and a pair has one'):
        open_pair(str(path))


def test_the_written_config_inherits_and_trains_with_mmdets_own_tool(pair, written):
    path = pair / 'sub/distilled.py'
    text = path.read_text()
    assert "_base_ = '../student.py'" in text
    config = Config.fromfile(path)
    assert config.model.type == 'DistilledFasterRCNN'
    assert config.model.neck == Config.fromfile(pair / 'student.py').model.neck
    assert Config.fromfile(config.model.teacher.config).model.neck.out_channels == 48
    assert config.default_hooks.checkpoint.type == 'ExactCheckpointHook'
    assert config.work_dir == 'work_dirs/distilled'
    output = run(MMDET_TOOLS / 'train.py', path, '--work-dir', pair / 'work')
    assert output.count('loss_wkd_f: ') >= 1
    assert (pair / 'work/iter_2.pth').is_file()
    assert (pair / 'pair.png').read_bytes()[:4] == b'\x89PNG'


MAPS = """model = dict(
    type='TimmMaps', name='vit_small_patch14_reg4_dinov2.lvd142m', stride=16,
    embed_dim=32, num_heads=2, depth=2, img_size=98)
"""


def test_a_teacher_of_maps(pair):
    """A network of timm: its maps are found, methods on heads say what it lacks."""
    (pair / 'maps.py').write_text(MAPS)
    network = MODELS.build(Config.fromfile(pair / 'maps.py').model).backbone.network
    torch.save(network.state_dict(), pair / 'maps.pth')
    chosen = ('--teacher', pair / 'maps.py', '--checkpoint', pair / 'maps.pth')
    output = explain(pair / 'student.py', *chosen, '--write', pair / 'from_maps.py', *SMALL)
    lines = output.splitlines()
    same = ['neck', 'level', '2', '32', '16', '16', 'x', '16', 'level', '0', '32', '16']
    assert [*same, '16', 'x', '16'] in [line.split() for line in lines]
    assert 'Classes (student 10, teacher 0)' in lines
    assert '  the teacher has none, so none are compared' in lines
    assert '      the teacher TimmMaps has no RoI head: use the tap neck or backbone' in lines
    assert lines[-2].endswith(' trains: everything before the first step has been run.')
    config = Config.fromfile(pair / 'from_maps.py')
    assert 'classes' not in config.model.teacher
    run(MMDET_TOOLS / 'train.py', pair / 'from_maps.py', '--work-dir', pair / 'work_maps')
    checkpoint = pair / 'work_maps/iter_2.pth'
    assert checkpoint.is_file()
    said = run('tools/test.py', pair / 'from_maps.py', checkpoint, '--teacher', code=1)
    expected = 'error: the TimmMaps of teacher predicts nothing that could be tested'
    assert sentence(said) == expected


def test_a_teacher_of_maps_is_no_student_and_teaches_no_classifier(pair):
    (pair / 'maps.py').write_text(MAPS)
    with pytest.raises(TypeError, match='distilled takes a detector class, got .*TimmMaps'):
        open_pair(str(pair / 'maps.py'))
    (pair / 'classifier.py').write_text("model = dict(type='Classifier', num_classes=10)\n")
    with pytest.raises(ValueError, match='for classification and the teacher TimmMaps for detect'):
        open_pair(str(pair / 'classifier.py'), str(pair / 'maps.py'))


def test_a_distilled_config_is_looked_at_with_its_own_terms(pair, written):
    output = explain(pair / 'sub/distilled.py', *SMALL)
    assert sentence(output) == 'configured trains: everything before the first step has been run.'
    for option in (('--method', 'kd'), ('--write', pair / 'new.py')):
        output = explain(pair / 'sub/distilled.py', *option, code=2)
        assert sentence(output).startswith(f'error: {option[0]} is for a plain student: ')


def test_a_config_with_images_without_labels(pair, written):
    """The first labelled image of a batch and the first without labels are tried."""
    path = pair / 'sub/unlabelled.py'
    path.write_text(
        """_base_ = 'distilled.py'
model = dict(unlabelled=dict(num_rois=8))
_labelled = _base_.train_dataloader.dataset
_photos = dict(
    type='UnlabelledDataset', data_root=_labelled.data_root + 'train', pipeline=_labelled.pipeline
)
train_dataloader = dict(
    sampler=dict(_delete_=True, type='SourceSampler', batch_size=2, source_ratio=[1, 1]),
    batch_sampler=None,
    dataset=dict(
        _delete_=True,
        type='ConcatDataset',
        datasets=[_labelled, _photos],
        ignore_keys=['classes', 'palette'],
    ),
)
"""
    )
    output = explain(path, *SMALL)
    assert sentence(output) == 'configured trains: everything before the first step has been run.'


def test_files_that_are_not_written(pair):
    for name in ('student', 'teacher'):
        path = pair / f'{name}.py'
        text = path.read_text()
        said = f'error: --write would overwrite {path}, which the new config needs'
        for more in ((), ('--force',)):  # no hint at what is refused as well
            output = explain(*with_teacher(pair), '--write', path, *more, code=2)
            assert sentence(output) == said
        assert path.read_text() == text
    output = explain(*with_teacher(pair), '--picture', pair / 'pair.jpg', code=2)
    assert sentence(output).startswith(
        'error: --picture takes a path that ends in .png, .svg, .pdf'
    )


def test_a_one_stage_student_of_a_two_stage_teacher(pair):
    """Every method that is refused is refused by the sentence that training ends with."""
    output = explain(*with_teacher(pair, 'retinanet.py'), '--write', pair / 'retina_distilled.py')
    fitting, _, refused = output.partition('Methods that do not fit, and why')
    assert 'with loss_wkd_f_fpn: levels=[0], teacher_levels=[1]\n' in fitting
    for name in ('fitnet', 'icd', 'reviewkd', 'fgfi', 'pkd', 'nst', 'ickd'):
        assert f'\n  {name} ' in fitting
    config = Config.fromfile(pair / 'retina_distilled.py').model
    assert config.type == 'DistilledRetinaNet'
    assert list(config.distill) == ['loss_wkd_f_fpn']
    section = dict(tap='roi_logits', loss=dict(type='KDLoss'))
    with pytest.raises(ValueError, match='no RoI head') as error:
        MODELS.build(dict(copy.deepcopy(config), distill=dict(loss_kd=section)))
    said = sentence_of(error.value).removeprefix('distill.loss_kd: ')
    assert (
        f'dkd, fcfd-wkd, fcfd, kd, reviewkd-wkd, wkd-f, wkd-l, wkd-lf-box, wkd-lf\n      {said}\n'
        in refused
    )
    assert 'wkd-f-fpn trains: ' in refused


BASE = "_base_ = 'student.py'\n"
MISTAKES = {
    'optimizer': (
        BASE + 'optim_wrapper = dict(optimizer=dict(lrr=1))',
        "kd would not train: TypeError: AdamW.__init__() got an unexpected keyword argument 'lrr'",
    ),
    'training data': (
        BASE + "train_dataloader = dict(dataset=dict(metainfo=dict(classes=tuple('abcdefghij'))))",
        "kd would not train: the training data have the classes ['a', 'b', 'c', 'd', ",
    ),
    'number of classes': (
        BASE + 'model = dict(roi_head=dict(bbox_head=dict(num_classes=3)))',
        "kd would not train: teacher.classes='any' compares no classes, and distill.loss_kd ",
    ),
    'start': (
        BASE + "load_from = 'nowhere.pth'",
        'kd would not train: nowhere.pth can not be found',
    ),
    'hook': (
        BASE + "custom_hooks = [dict(type='TermScheduleHook', terms=['loss_x'], by_epoch=False)]",
        "kd would not train: TermScheduleHook.terms: unknown ['loss_x']; valid are ['loss_kd']",
    ),
}


@pytest.mark.parametrize('kind', MISTAKES)
def test_what_training_would_refuse_is_said(pair, kind):
    text, message = MISTAKES[kind]
    (pair / 'mistake.py').write_text(text)
    output = explain(*with_teacher(pair, 'mistake.py'), *SMALL, '--method', 'kd', code=1)
    last = ' '.join(output[output.rindex('kd would not train') :].split())
    assert last.startswith(message)


def test_weights_that_are_missing_or_of_another_network(pair):
    options = (*SMALL, '--method', 'kd')
    output = explain(*with_teacher(pair, checkpoint='nowhere.pth'), *options, code=1)
    assert f'checkpoint not found: {pair}/nowhere.pth' in ' '.join(output.split())
    torch.save(dict(state_dict=dict(a=torch.zeros(1))), pair / 'other.pth')
    output = explain(*with_teacher(pair, checkpoint='other.pth'), *options, code=1)
    output = ' '.join(output.split())
    assert 'its weights do not load: teacher.checkpoint ' in output
    assert 'kd would not train: teacher.checkpoint ' in output
    output = explain(*with_teacher(pair)[:3], *options, '--write', pair / 'open.py')
    assert 'kd trains as soon as the teacher has weights: --checkpoint FILE.\n' in output
    said = f'wrote {pair}/open.py, whose model.teacher.checkpoint is to be set'
    assert sentence(output) == said


def test_classes_that_the_teacher_has_among_others(pair):
    (pair / 'two.py').write_text(
        BASE
        + 'model = dict(roi_head=dict(bbox_head=dict(num_classes=2)))\n'
        + "_meta = dict(metainfo=dict(classes=('Seven', 'one')))\n"
        + 'train_dataloader = dict(dataset=_meta)\nval_dataloader = dict(dataset=_meta)\n'
    )
    out = pair / 'two_distilled.py'
    output = explain(*with_teacher(pair, 'two.py'), *SMALL, '--method', 'wkd-l', '--write', out)
    assert '  spelt otherwise: 1 (Seven is seven)\n' in output
    assert "  teacher.classes='subset' is needed:\n" in output
    assert Config.fromfile(out).model.teacher.classes == 'subset'


def test_a_distilled_config_is_taken_at_its_word(pair, written):
    """The rule of classes that a plain student would get is not given to it."""
    (pair / 'sub/two.py').write_text(
        "_base_ = 'distilled.py'\n"
        + 'model = dict(roi_head=dict(bbox_head=dict(num_classes=2)))\n'
        + "_meta = dict(metainfo=dict(classes=('seven', 'one')))\n"
        + 'train_dataloader = dict(dataset=_meta)\nval_dataloader = dict(dataset=_meta)\n'
    )
    output = explain(pair / 'sub/two.py', *SMALL, code=1)
    last = ' '.join(output[output.rindex('configured would not train') :].split())
    assert last.startswith(
        'configured would not train: the student has 2 classes and the teacher 10;'
    )


def test_mistakes_of_the_command_itself(pair):
    assert sentence(explain('nowhere.py', code=1)) == 'error: no such file: nowhere.py'
    student, *teacher = with_teacher(pair)
    output = explain(student, '--teacher', 'nowhere.py', code=1)
    assert sentence(output) == 'error: no such file: nowhere.py'
    output = explain(student, *teacher, '--method', 'wkdf', code=2)
    assert "--method must name a method, got 'wkdf'; near matches are wkd-f, " in output
    there = pair / 'there.py'
    there.touch()
    output = explain(student, *teacher, '--write', there, code=2)
    assert sentence(output) == f'error: {there} is there already: --force overwrites it'
    there.unlink()
    output = explain(student, *teacher, '--write', 'a.yaml', code=2)
    assert sentence(output) == 'error: --write takes a path that ends in .py, got a.yaml'
    assert 'error: the following arguments are required: student' in explain(code=2)
    output = explain(student, '--checkpoint', 'a.pth', code=1)
    assert sentence(output).startswith('error: --checkpoint holds the weights of a teacher')
    digits = 'configs/classification/digits/baseline/resnet20_teacher.py'
    output = explain(student, '--teacher', digits, code=1)
    assert sentence(output).startswith('error: the student is for detection and the teacher ')
