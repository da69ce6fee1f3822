import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config

from wkd_det.distillation.teacher import TeacherSource
from wkd_det.testing import distilled_config, save_detector, tiny_faster_rcnn, wkd_l_term

TERMS = dict(loss_wkd_l=wkd_l_term())


def start(section):
    model = MODELS.build(distilled_config(section, TERMS))
    model.init_weights()
    return model


def test_config_from_a_path_a_name_and_a_dict_with_overrides(tmp_path):
    overrides = dict(roi_head=dict(bbox_head=dict(num_classes=3)))
    overrides['backbone.depth'] = 34
    model = tiny_faster_rcnn()
    path = tmp_path / 'teacher.py'
    Config(dict(model=model)).dump(path)
    name = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'
    for config in (str(path), model, dict(model=model), name):
        source = TeacherSource(config, overrides=overrides)
        read = source.model_config()
        assert read.type == 'FasterRCNN'
        assert read.roi_head.bbox_head.num_classes == 3
        assert read.backbone.depth == 34
    assert model.roi_head.bbox_head.num_classes == 4  # the dict of the user is left alone


def test_checkpoint_is_needed(teacher_section):
    with pytest.raises(ValueError, match='--cfg-options model.teacher.checkpoint=PATH'):
        start(dict(config=teacher_section['config']))


def test_wrong_path(teacher_section):
    with pytest.raises(FileNotFoundError, match='checkpoint not found: nowhere.pth'):
        start(dict(teacher_section, checkpoint='nowhere.pth'))


@pytest.mark.parametrize(
    ('section', 'error', 'message'),
    [
        (dict(cfg='x'), KeyError, "unknown keys .'cfg'.*checkpoint.*classes.*config.*overrides"),
        (dict(config='x', classes='equal'), ValueError, "one of .'same', 'subset', 'any'.*'equal'"),
        (dict(checkpoint='x'), KeyError, 'teacher.config is missing'),
        (dict(config=3), TypeError, 'path, a name or a dict'),
        (dict(config={}, overrides='a=1'), TypeError, "overrides must be a dict .* got 'a=1'"),
        ('teacher.py', TypeError, 'teacher must be a dict'),
    ],
)
def test_wrong_sections(section, error, message):
    with pytest.raises(error, match=message):
        TeacherSource.from_config(section)


def test_weights_of_another_architecture(teacher_section, tmp_path):
    save_detector(tiny_faster_rcnn(), tmp_path / 'narrow.pth')
    with pytest.raises(ValueError, match=r'does not fit FasterRCNN: backbone.conv1.weight \(8, 3'):
        start(dict(teacher_section, checkpoint=str(tmp_path / 'narrow.pth')))


def test_missing_and_unexpected_weights(teacher_section, tmp_path):
    checkpoint = torch.load(teacher_section['checkpoint'])
    state = checkpoint['state_dict']
    state['head.weight'] = state.pop('rpn_head.rpn_cls.weight')
    torch.save(checkpoint, tmp_path / 'edited.pth')
    with pytest.raises(
        ValueError, match='missing keys: rpn_head.rpn_cls.weight; unexpected keys: head.weight'
    ):
        start(dict(teacher_section, checkpoint=str(tmp_path / 'edited.pth')))


def test_teacher_may_be_a_distilled_student(teacher_section, tmp_path):
    model = start(teacher_section)
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'distilled.pth')
    again = start(dict(config=tiny_faster_rcnn(), checkpoint=str(tmp_path / 'distilled.pth')))
    weights = again.distiller.teacher.module.state_dict()
    assert all(torch.equal(weights[key], model.state_dict()[key]) for key in weights)


def test_building_the_teacher_leaves_the_random_state(teacher_section):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    TeacherSource(**teacher_section).load()
    assert torch.equal(torch.rand(1), expected)


def test_a_distilled_model_teaches_as_the_plain_one(teacher_section, tmp_path):
    """A second generation: neither the first one's teacher nor its connectors are needed."""
    first = distilled_config(teacher_section, dict(loss_wkd_l=wkd_l_term()))
    model = MODELS.build(first)
    model.init_weights()
    torch.save(dict(state_dict=model.state_dict(), meta={}), tmp_path / 'first.pth')
    first['teacher'] = dict(first['teacher'], config='absent.py')
    section = dict(config=first, checkpoint=str(tmp_path / 'first.pth'))
    second = MODELS.build(distilled_config(section, dict(loss_wkd_l=wkd_l_term())))
    second.init_weights()
    teacher = second.distiller.teacher.module
    assert teacher.distiller is None
    for key, value in teacher.state_dict().items():
        assert torch.equal(value, model.state_dict()[key]), key
