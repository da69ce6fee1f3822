"""The command that draws pictures of student and teacher."""

import pytest
import torch
from mmengine.config import Config
from torch.testing import assert_close

import plots
from mini_dataset.digits import CLASSES
from plots import main
from tiny_files import write_files
from wkd_det.functional import cosine_interrelation, interrelation_to_cost, wkd_transport_plan
from wkd_det.inspection.detections import open_detector
from wkd_det.inspection.network_pictures import plot_transport_plan
from wkd_det.inspection.opening import annotated_dataset
from wkd_det.inspection.shared_examples import shared_examples
from wkd_det.testing import save_detector, tiny_detector


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp('plots')
    write_files(path)
    return path


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


@pytest.fixture(scope='module')
def one_stage(folder):
    """A RetinaNet next to the other students."""
    config = Config.fromfile(folder / 'plain.py')
    config.model = tiny_detector('RetinaNet', num_classes=10)
    config.dump(folder / 'retina.py')
    save_detector(config.model, folder / 'retina.pth', class_names=list(CLASSES))
    return 'retina'


def test_attention_of_a_one_stage_detector(folder, one_stage, capsys):
    main(command(folder, 'attention', '--scenes', '1', '--objects', '1', students=[one_stage]))
    _check_picture(folder, 'attention', capsys)


@pytest.mark.parametrize('figure', ['correlation', 'discrepancy', 'tsne', 'transport'])
def test_figures_about_rois(folder, one_stage, figure):
    message = (
        f'error: {figure} compares RoIs, and {one_stage}, a RetinaNet, has no RoI head: of '
        'one-stage detectors only attention is drawn'
    )
    with pytest.raises(SystemExit, match=f'^{message}$'):
        main(command(folder, figure, students=[one_stage]))


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
