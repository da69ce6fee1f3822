"""The text of a written config: Python that reads as the values it was made of."""

from __future__ import annotations

from pathlib import Path

import pytest
from mmengine.config import Config

from wkd_det.inspection.pairs.methods import Method
from wkd_det.inspection.pairs.pair import open_pair
from wkd_det.inspection.pairs.written import _source, config_text, loaded, write_config
from wkd_det.runtime.mistakes import sentence_of
from wkd_det.testing import tiny_faster_rcnn

TERM = dict(loss=dict(type='KDLoss'), tap='roi_logits')


@pytest.fixture
def student(tmp_path):
    """Path of a student's config with hooks and imports of its own."""
    config = Config(
        dict(
            model=tiny_faster_rcnn(),
            custom_hooks=[dict(type='EMAHook')],
            custom_imports=dict(imports=['json']),
            default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=7)),
        )
    )
    config.dump(tmp_path / 'student.py')
    return tmp_path / 'student.py'


@pytest.mark.parametrize(
    'value',
    [
        dict(a=1, b=[1, 2.5, (3,)], c=None, d='it is "so"'),
        {'a-b': dict(c=True), 'd': ()},
        dict(long=dict(longer=['x' * 30, 'y' * 30, dict(z='z' * 40)]), empty={}, none=[]),
        [dict(type='A', terms=['loss_' + 'b' * 40], warm_up=3, more='c' * 40)],
        ('a' * 60, 'b' * 60),
    ],
)
def test_source_reads_as_the_value(value):
    text = _source(value, 0, 0)
    assert eval(text) == value
    assert max(map(len, text.splitlines())) <= 100


def test_hooks_imports_and_options_of_the_student_stay(student, tmp_path):
    teacher = str(tmp_path / 'student.py')
    pair = open_pair(str(student), teacher, 'http://a.b/c.pth').with_teacher(classes='subset')
    hooks = [dict(type='TermScheduleHook', terms=['loss_kd'], warm_up=2)]
    method = Method('kd', 'KD: a method', dict(loss_kd=TERM), hooks=hooks)
    out = tmp_path / 'sub/out.py'
    write_config(pair, method, out, size=64, command='explain')
    config = Config.fromfile(out)
    assert config.custom_imports.imports == ['json', 'wkd_det']
    assert [hook.type for hook in config.custom_hooks] == ['EMAHook', 'TermScheduleHook']
    assert config.default_hooks.checkpoint == dict(type='ExactCheckpointHook', interval=7)
    assert config.model.type == 'DistilledFasterRCNN'
    assert config.model.backbone == Config.fromfile(student).model.backbone
    assert Config.fromfile(config.model.teacher.config).model.type == 'FasterRCNN'
    assert config.model.teacher.checkpoint == 'http://a.b/c.pth'
    assert config.model.teacher.classes == 'subset'
    assert config.model.distill.loss_kd == TERM
    assert 'work_dir' not in config
    text = out.read_text()
    assert text.index("tap='roi_logits'") < text.index("loss=dict(type='KDLoss')")
    with pytest.raises(ValueError, match='is there already: --force'):
        write_config(pair, method, out, size=64, command='explain')
    write_config(pair, method, out, size=64, command='explain', force=True)


def test_a_detector_that_has_no_distilled_form_gets_one(tmp_path):
    from mmdet.models.detectors import FasterRCNN
    from mmdet.registry import MODELS

    class MyOwnRCNN(FasterRCNN):
        """A detector of the user's own."""

    MODELS.register_module(module=MyOwnRCNN)
    Config(dict(model=dict(tiny_faster_rcnn(), type='MyOwnRCNN'))).dump(tmp_path / 'student.py')
    pair = open_pair(str(tmp_path / 'student.py'), str(tmp_path / 'student.py'))
    assert pair.type == 'DistilledMyOwnRCNN'
    method = Method('kd', 'KD: a method', dict(loss_kd=TERM))
    text = config_text(pair, method, tmp_path / 'out.py', size=64, command='explain')
    imports = loaded(text, tmp_path).custom_imports.imports
    assert imports == ['wkd_det', 'wkd_det.detection.others']


def test_wrappers_and_unknown_types_are_refused(tmp_path):
    Config(dict(model=dict(type='SoftTeacher', detector=dict()))).dump(tmp_path / 'a.py')
    with pytest.raises(TypeError, match='SoftTeacher holds a student and a teacher itself'):
        open_pair(str(tmp_path / 'a.py'))
    Config(dict(model=dict(type='FasterRCN'))).dump(tmp_path / 'b.py')
    with pytest.raises(KeyError, match="got 'FasterRCN'; near matches are FasterRCNN"):
        open_pair(str(tmp_path / 'b.py'))
    Config(dict(model=dict(type='ResNet', depth=18))).dump(tmp_path / 'c.py')
    with pytest.raises(ValueError, match='ResNet is neither a detector of MMDetection nor'):
        open_pair(str(tmp_path / 'c.py'))
    Config(dict(a=1)).dump(tmp_path / 'd.py')
    with pytest.raises(KeyError, match='has no model section'):
        open_pair(str(tmp_path / 'd.py'))


def test_configs_of_the_new_style_are_not_inherited(student, tmp_path):
    pair = open_pair(str(student))
    student.write_text('# from mmengine.config import read_base\n' + student.read_text())
    with pytest.raises(ValueError, match='a config of the new style'):
        config_text(pair, Method('a', 'A: a', {}), tmp_path / 'b.py', size=64, command='')


def test_sentences_of_errors():
    def raised(error):
        try:
            raise error
        except Exception as caught:
            return sentence_of(caught)

    assert raised(RuntimeError('first\nsecond')) == 'RuntimeError: first'
    assert raised(RuntimeError()) == 'RuntimeError: no message'
    assert raised(FileNotFoundError(2, 'No such file', 'a/b.py')) == 'no such file: a/b.py'
    with pytest.raises(RuntimeError) as wrapped:  # noqa: PT012  one error around another
        try:
            write_config(None, None, Path('a.yaml'), size=1, command='')
        except ValueError as error:
            raise RuntimeError('around') from error
    assert sentence_of(wrapped.value) == '--write takes a path that ends in .py, got a.yaml'
