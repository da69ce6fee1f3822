"""Examples that several detectors share, Grad-CAM, and the command that draws."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from torch.testing import assert_close

import plots
from make_mini_dataset import CLASSES, make_dataset
from plots import main
from wkd_det.functional import cosine_interrelation, interrelation_to_cost, wkd_transport_plan
from wkd_det.inspection.attention import activation_map
from wkd_det.inspection.detections import open_detector
from wkd_det.inspection.network_pictures import plot_transport_plan
from wkd_det.inspection.opening import annotated_dataset
from wkd_det.inspection.shared_examples import shared_examples
from wkd_det.testing import distilled_config, save_detector, tiny_faster_rcnn, wkd_f_term

ROOT = Path(__file__).resolve().parents[2]


LAYER = 'neck.fpn_convs.0'


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Data; configs and checkpoints of a teacher and of two students, one of them distilled."""
    init_default_scope('mmdet')
    path = tmp_path_factory.mktemp('looking')
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
    return path


@pytest.fixture(scope='module')
def detectors(folder):
    return {
        name: open_detector(str(folder / f'{name}.py'), folder / f'{name}.pth').module
        for name in ('teacher', 'plain')
    }


@pytest.fixture(scope='module')
def dataset(folder):
    return annotated_dataset(Config.fromfile(folder / 'teacher.py'), 'val')


def test_a_distilled_student_opens_without_its_teacher(folder):
    opened = open_detector(str(folder / 'distilled.py'), folder / 'distilled.pth')
    assert type(opened.module).__name__ == 'FasterRCNN'
    assert opened.class_names == list(CLASSES)
    with pytest.raises(KeyError, match='no model section'):
        open_detector(Config(dict(a=1)), 'x.pth')


def test_examples_are_shared(detectors, dataset):
    examples = shared_examples(detectors, dataset, range(4), CLASSES, seed=1)
    truth = [dataset[item]['data_samples'].gt_instances for item in range(4)]
    for item, instances in enumerate(truth):
        own = examples.items == item
        objects = own & (examples.labels < 10)
        assert examples.labels[objects].tolist() == instances.labels.tolist()
        assert_close(examples.boxes[objects], instances.bboxes.tensor)
        assert int((own & (examples.labels == 10)).sum()) <= 2
    assert examples.class_names == [*CLASSES, 'background']
    assert examples.logits['teacher'].shape == examples.logits['plain'].shape
    # The logits are the classifier's on the features that are given beside them.
    for name, detector in detectors.items():
        with torch.no_grad():
            logits = detector.roi_head.bbox_head.fc_cls(examples.features[name])
        assert_close(logits, examples.logits[name], rtol=1e-4, atol=1e-5)  # other batch sizes
    again = shared_examples(detectors, dataset, range(4), CLASSES, seed=1)
    assert torch.equal(again.boxes, examples.boxes)
    other = shared_examples(
        dict(reversed(detectors.items())), dataset, range(4), CLASSES, background_per_image=0
    )
    assert int(other.labels.max()) < 10


def test_examples_of_other_classes(detectors, dataset):
    with pytest.raises(ValueError, match='teacher has 10 classes, the data 3'):
        shared_examples(detectors, dataset, range(2), CLASSES[:3])
    with pytest.raises(ValueError, match='the 0 images have no RoIs'):
        shared_examples(detectors, dataset, [], CLASSES)


def test_activation_map(detectors, dataset):
    data = pseudo_collate([dataset[0]])
    detector = detectors['plain']
    flags = [parameter.requires_grad for parameter in detector.parameters()]
    cam = activation_map(detector, data, LAYER)
    assert cam.shape == dataset[0]['inputs'].shape[1:]
    assert float(cam.min()) >= 0
    assert float(cam.max()) == pytest.approx(1, abs=1e-3)  # the library's guard of a division
    assert [parameter.requires_grad for parameter in detector.parameters()] == flags
    assert all(parameter.grad is None for parameter in detector.parameters())
    assert_close(activation_map(detector, data, LAYER), cam)


def test_activation_map_is_gradient_times_activation(detectors, dataset):
    """By the formula: channels weighted by the mean gradient, summed, cut at 0."""
    import torch.nn.functional as F
    from mmdet.structures.bbox import bbox2roi

    detector = detectors['plain']
    raw = pseudo_collate([dataset[1]])
    data = detector.data_preprocessor(pseudo_collate([dataset[1]]), False)
    truth = data['data_samples'][0].gt_instances
    maps = [level.detach() for level in detector.extract_feat(data['inputs'])]
    maps[0].requires_grad_(True)
    result = detector.roi_head._bbox_forward(tuple(maps), bbox2roi([truth.bboxes]))
    result['cls_score'].gather(1, truth.labels[:, None]).sum().backward()
    weights = maps[0].grad.mean((2, 3), keepdim=True)
    expected = (weights * maps[0]).sum(1, keepdim=True).clamp(min=0).detach()
    size = data['inputs'].shape[2:]
    expected = expected - expected.min()
    expected = F.interpolate(expected / expected.max(), size, mode='bilinear')[0, 0]
    height, width = dataset[1]['inputs'].shape[1:]
    found = activation_map(detector, raw, LAYER)
    # The library resizes by OpenCV and scales once more: equal but for the borders.
    assert_close(found, expected[:height, :width], rtol=0, atol=0.05)


@pytest.mark.parametrize(
    ('layer', 'message'),
    [
        ('neck.fpn_conv.0', r"has no module 'neck.fpn_conv.0'; near are \['neck.fpn_convs.0'"),
        ('backbone', r'output of backbone is no map \(N, C, H, W\)'),
        ('roi_head.bbox_head.fc_cls', 'is no map'),
        ('neck.fpn_convs.3', 'do not depend on neck.fpn_convs.3'),
    ],
)
def test_layers_without_a_map(detectors, dataset, layer, message):
    with pytest.raises(ValueError, match=message):
        activation_map(detectors['plain'], pseudo_collate([dataset[0]]), layer)


def command(folder, figure, *extra, students=('plain', 'distilled')):
    arguments = [figure, '--output', str(folder / f'{figure}.png')]
    arguments += ['--teacher', str(folder / 'teacher.py'), str(folder / 'teacher.pth')]
    for name in students:
        arguments += ['--student', name, str(folder / f'{name}.py'), str(folder / f'{name}.pth')]
    return [*arguments, *extra]


@pytest.mark.parametrize(
    ('figure', 'extra'),
    [
        ('correlation', []),
        ('discrepancy', ['--images', '4']),
        ('attention', ['--scenes', '1', '--objects', '1']),
        ('tsne', ['--per-class', '3']),
    ],
)
def test_figures_are_written(folder, capsys, figure, extra):
    main(command(folder, figure, *extra))
    _check_picture(folder, figure, capsys)


@pytest.mark.parametrize(
    ('extra', 'rank', 'joint'), [([], 1, False), (['--joint', '--rank', '3'], 3, True)]
)
def test_transport_of_one_object(folder, capsys, monkeypatch, extra, rank, joint):
    shown = {}

    def draw(plan, cost, class_names, **rest):
        shown.update(plan=plan, cost=cost, **rest)
        return plot_transport_plan(plan, cost, class_names, **rest)

    monkeypatch.setattr(plots, 'plot_transport_plan', draw)
    main(command(folder, 'transport', *extra, students=['plain']))
    _check_picture(folder, 'transport', capsys)
    # By hand: the object of that rank by its cost, from the student to the teacher.
    opened = {
        name: open_detector(str(folder / f'{name}.py'), folder / f'{name}.pth').module
        for name in ('teacher', 'plain')
    }
    dataset = annotated_dataset(Config.fromfile(folder / 'teacher.py'), 'val')
    examples = shared_examples(opened, dataset, range(len(dataset)), CLASSES)
    objects = (examples.labels < 10).nonzero().flatten()
    labels = examples.labels[objects]
    student, teacher = (examples.logits[name][objects] for name in ('plain', 'teacher'))
    rows = opened['teacher'].roi_head.bbox_head.fc_cls.weight
    cost = interrelation_to_cost(cosine_interrelation(rows.double()), sharpness=2.0).float()
    plans = wkd_transport_plan(
        student, teacher, cost, None if joint else labels, temperature=1.0, log_domain=True
    )
    best = (plans * cost).sum((1, 2)).argsort(descending=True)[rank - 1]
    assert_close(shown['cost'], cost)
    assert_close(shown['plan'], plans[best])
    for side, logits in (('student', student[best]), ('teacher', teacher[best])):
        kept = logits if joint else logits.scatter(0, labels[best], -torch.inf)
        assert_close(shown[side], kept.softmax(0))
    image = int(examples.items[objects[best]])
    assert f'plain to teacher: {CLASSES[labels[best]]} at [' in shown['title']
    assert f'image {image} of val' in shown['title']


def _check_picture(folder, figure, capsys):
    assert (folder / f'{figure}.png').read_bytes().startswith(b'\x89PNG')
    assert f'wrote {folder}/{figure}.png' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(figure='discrepancy', extra=['--of', 'features']), 'examples to be fitted on'),
        (dict(figure='attention', extra=['--objects', '99']), 'no image of val has so many'),
        (dict(figure='tsne', extra=[], students=['plain', 'plain']), "got 'plain' twice"),
        (dict(figure='transport', extra=[]), r"one student, got --student \['plain', 'distilled'"),
        (
            dict(figure='transport', extra=['--rank', '99'], students=['plain']),
            r'--rank 99: there are only \d+ objects',
        ),
        (
            dict(figure='transport', extra=['--epsilon', '0'], students=['plain']),
            'epsilon must be positive, got 0.0',
        ),
        (
            dict(figure='transport', extra=['--cost', 'nowhere.pth'], students=['plain']),
            'nowhere.pth',
        ),
    ],
)
def test_mistakes_in_one_sentence(folder, arguments, message):
    arguments = dict(arguments)
    figure, extra = arguments.pop('figure'), arguments.pop('extra')
    with pytest.raises(SystemExit, match=message):
        main(command(folder, figure, *extra, **arguments))
