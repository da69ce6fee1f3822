"""The benchmarks at small sizes: what they time and how they judge it, not how fast it is."""

import json
from functools import partial
from pathlib import Path

import pytest
import torch

import benchmark
from benchmarks import (
    classification,
    dense,
    family,
    gradients,
    losses,
    methods,
    rivals,
    step,
    teacher,
)
from benchmarks.memory import peak_extra_bytes
from benchmarks.report import at_least, at_most
from benchmarks.timing import time_in_turns
from wkd_det.functional import FEATURE_DISTANCES

ROOT = Path(__file__).resolve().parents[2]


MODULES = (classification, dense, family, gradients, losses, methods, rivals, step, teacher)


@pytest.fixture(autouse=True)
def _at_the_root_and_brief(monkeypatch):
    monkeypatch.chdir(ROOT)
    for module in (
        classification,
        dense,
        family,
        gradients,
        losses,
        methods,
        rivals,
        step,
        teacher,
    ):
        monkeypatch.setattr(
            module,
            'time_in_turns',
            partial(time_in_turns, seconds=0),
        )


def run(tmp_path, *arguments):
    """Exit code and figures of a command."""
    path = tmp_path / 'figures.json'
    with pytest.raises(SystemExit) as stop:
        benchmark.main([*arguments, '--quick', '--repeats', '2', '--json', str(path)])
    return stop.value.code, json.loads(path.read_text())


def test_losses_agree_with_the_plain_formulas_and_are_judged(tmp_path, capsys):
    code, figures = run(tmp_path, 'losses')
    assert code == 0
    assert {'torch', 'cores', 'threads', 'load'} <= figures['machine'].keys()
    *compared, features = (case for case in figures['cases'] if case['agreement'])
    for case in (*compared, features):
        agreement = case['verdicts'][0]
        assert agreement[0].startswith('value and gradient differ')
        assert agreement[3]  # rounding only: this one does not depend on the machine
    table = capsys.readouterr().out
    assert 'times less extra memory than direct' in table
    assert 'times the 42 bare products' in table


def test_losses_of_dense_heads_are_timed_and_judged(tmp_path, capsys):
    code, figures = run(tmp_path, 'dense')
    assert code == 0
    *timed, rounds = figures['cases']
    assert len(timed) == 4  # two choices of places, whole terms and losses alone
    assert all(0 <= one['value'] < 1 and one['cosine'] > 0 for one in rounds['rounds'])
    for case in timed:
        assert case['forms']['SigmoidKDLoss']['ratio'] == [1.0, 1.0, 1.0]
        assert len(case['verdicts']) == ('whole term' in case['case'])
    assert 'WKDSigmoidLoss to SigmoidKDLoss' in capsys.readouterr().out


def test_forms_of_the_teacher_are_timed_and_compared(tmp_path, capsys):
    code, figures = run(tmp_path, 'teacher')
    assert code == 0
    (case,) = figures['cases']
    forms = case['forms']
    assert forms['as it is']['ratio'] == [1.0, 1.0, 1.0]
    assert forms['as it is']['difference'] == 0
    assert 0 < forms['fuse']['difference'] < 1e-5  # rounding of float32
    assert 'ResNet-34, 1 x 64 x 64' in capsys.readouterr().out


def test_weights_by_gradients_are_timed(tmp_path, capsys):
    code, figures = run(tmp_path, 'gradients')
    assert code == 0
    assert len(figures['cases']) == 2
    for case in figures['cases']:
        assert list(case['forms']) == list(gradients.FORMS)
        assert case['forms']['numbers']['ratio'] == [1.0, 1.0, 1.0]
        assert min(form['seconds'] for form in case['forms'].values()) > 0
    assert 'every=50' in capsys.readouterr().out


def test_every_form_of_the_feature_loss_is_timed(tmp_path, capsys):
    code, figures = run(tmp_path, 'family')
    assert code == 0
    (case,) = figures['cases']
    assert set(case['forms']) == {' '.join(pair) for pair in FEATURE_DISTANCES}
    assert case['forms']['diag w2']['ratio'] == [1.0, 1.0, 1.0]
    assert case['forms']['full w2']['ratio'][0] > 0  # how much is a matter of the machine
    assert 'pmf w2' in capsys.readouterr().out


def test_step_is_compared_with_the_sum_of_its_parts(tmp_path, capsys):
    code, figures = run(tmp_path, 'step')
    assert code == 0
    (case,) = figures['cases']
    parts = {name: seconds[0] for name, seconds in case['parts'].items()}
    assert set(parts) == {'distilled step', *step._UNAVOIDABLE, 'losses alone', 'their sum'}
    assert min(parts.values()) > 0
    median, low, high = case['ratio']
    assert low <= median <= high
    assert 'times the sum of the unavoidable parts' in capsys.readouterr().out


def test_steps_repeat_the_same_work_on_the_same_weights():
    pair = step.Pair('', ROOT / step._MINI, [(64, 64)] * 2)
    runs = step._runs(pair)
    for name in ('distilled step', 'student step'):
        first, second = (runs[name]() for _ in range(2))
        assert first == second
    distilled, plain = runs['distilled step'](), runs['student step']()
    assert {'loss_wkd_l', 'loss_wkd_f'} <= distilled.keys() - plain.keys()
    for name in ('loss_cls', 'loss_bbox', 'loss_rpn_cls'):
        assert distilled[name] == plain[name]


def test_methods_stand_beside_kd_and_the_papers_ratios(tmp_path, capsys):
    folder = tmp_path / 'configs'
    folder.mkdir()
    for name in ('kd', 'wkd-l', 'faster-rcnn_student'):
        (folder / f'{name}.py').write_text(f"_base_ = '{ROOT}/configs/mini/{name}.py'\n")
    code, figures = run(tmp_path, 'methods', '--folder', str(folder))
    assert code == 0
    (case,) = figures['cases']
    assert list(case['methods']) == ['plain student', 'kd', 'wkd-l']
    assert case['methods']['kd']['ratio'] == [1, 1, 1]
    assert case['methods']['kd']['extra_ratio'] == 1
    assert all(method['extra_bytes'] > 2**20 for method in case['methods'].values())
    (row,) = case['paper']
    assert (row['method'], row['over'], row['paper']) == ('wkd-l', 'kd', 1.3)
    assert "the paper's, ImageNet" in capsys.readouterr().out


def test_methods_without_their_baseline(tmp_path):
    (tmp_path / 'wkd-l.py').write_text(f"_base_ = '{ROOT}/configs/mini/wkd-l.py'\n")
    with pytest.raises(FileNotFoundError, match=r"no distilled config kd.py .*\['wkd-l'\]"):
        methods.benchmark_methods(repeats=1, folder=tmp_path)


def test_methods_of_a_pair_stand_beside_student_and_teacher(tmp_path, capsys):
    code, figures = run(
        tmp_path, 'methods', '--pair', 'digits_120i', '--methods', 'kd', 'srrl', 'crd', 'mlkd'
    )
    assert code == 0
    (case,) = figures['cases']
    assert case['case'] == 'digits_120i, 4 images of 32 x 32'
    plain, found = case['plain'], case['methods']
    assert list(found) == ['kd', 'srrl', 'crd', 'mlkd']
    assert min(plain['seconds'] + plain['teacher_seconds']) > 0
    assert all(low <= median <= high for median, low, high in (m['ratio'] for m in found.values()))
    # 64 channels in both networks: a convolution and its norm; two linear layers to 128.
    parameters = {name: method['parameters'] for name, method in found.items()}
    assert parameters == dict(kd=0, srrl=64 * 64 + 2 * 64, crd=2 * (64 + 1) * 128, mlkd=0)
    assert found['kd']['held_bytes'] == 0
    assert found['crd']['held_bytes'] >= 2 * 4 * 64 * 128  # the banks of --quick
    banks = {name: method['bank_bytes'] for name, method in found.items()}
    assert banks == dict(kd=None, srrl=None, crd=1311915008, mlkd=None)
    assert found['mlkd']['extra_bytes'] > found['kd']['extra_bytes']  # a second view
    table = capsys.readouterr().out
    assert 'time: over the plain student plus the teacher;' in table
    assert 'banks for 1,281,167 images, computed' in table


def test_methods_without_a_teacher_stand_beside_the_student(tmp_path, capsys):
    code, figures = run(tmp_path, 'methods', '--pair', 'digits-alone_120i')
    assert code == 0
    (case,) = figures['cases']
    assert case['plain']['teacher_seconds'] is None
    assert {'tfkd', 'zipf', 'uskd', 'label-smoothing'} <= case['methods'].keys()
    assert 'time: over the plain student;' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (
            dict(pair='digits'),
            "--pair must name a pair of classifiers, got 'digits'; near matches are digits_120i",
        ),
        (
            dict(pair='digits_120i', methods=['kdd']),
            "--methods must name methods of digits_120i, got 'kdd'; near matches are kd, rkd",
        ),
    ],
)
def test_unknown_pairs_and_methods(options, message):
    with pytest.raises(ValueError, match=f'^{message}'):
        rivals.benchmark_rivals(repeats=1, **options)


def test_methods_belong_to_a_pair(capsys):
    with pytest.raises(SystemExit):
        benchmark.parse_args(['methods', '--methods', 'kd'])
    assert '--methods are those of a pair: --pair is missing' in capsys.readouterr().err


def test_interrelation_tells_time_and_memory(tmp_path, capsys):
    code, figures = run(tmp_path, 'interrelation')
    assert code == 0
    (case,) = figures['cases']
    assert case['seconds'] > 0
    assert case['feature_bytes'] == 4 * 20 * 30 * 16
    assert case['extra_bytes'] >= 4 * 20 * 20  # the matrix itself
    assert 'linear CKA, 20 classes' in capsys.readouterr().out


@pytest.mark.parametrize(('measured', 'code'), [(3.0, 0), (1.0, 1)])
def test_a_missed_requirement_is_the_exit_code(measured, code, monkeypatch):
    cases = [dict(verdicts=[at_least('speed', measured, 2.0)])]
    monkeypatch.setattr(benchmark, 'benchmark_losses', lambda **_: cases)
    monkeypatch.setattr(benchmark, 'format_losses', str)
    with pytest.raises(SystemExit) as stop:
        benchmark.main(['losses'])
    assert stop.value.code == code


def test_verdicts_include_their_bound():
    assert at_most('ratio', 1.1, 1.1).met
    assert at_least('ratio', 1.1, 1.1).met
    assert not at_most('ratio', float('nan'), 1.1).met


def test_turns_are_taken_and_the_first_round_is_not_counted():
    order = []
    seconds = time_in_turns(
        dict(a=lambda: order.append('a'), b=lambda: order.append('b')), repeats=2, seconds=0
    )
    assert order == ['a', 'b'] * 3
    assert {name: len(values) for name, values in seconds.items()} == dict(a=2, b=2)


def test_seconds_are_those_of_the_clock():
    ticks = iter(range(100))
    seconds = time_in_turns(
        dict(a=lambda: None, b=lambda: next(ticks)),
        repeats=2,
        seconds=0,
        clock=lambda: next(ticks),
    )
    assert seconds == dict(a=[1, 1], b=[2, 2])


def test_peak_memory_counts_what_is_alive_at_once():
    def one_after_the_other():
        for _ in range(3):
            torch.ones(2**18)  # 1 MiB, released at once

    def together():
        return [torch.ones(2**18) for _ in range(3)]

    # The allocator rounds up a little.
    assert peak_extra_bytes(one_after_the_other) == pytest.approx(2**20, rel=0.01)
    assert peak_extra_bytes(together) == pytest.approx(3 * 2**20, rel=0.01)


def test_the_direct_form_takes_memory_by_sample_and_ours_does_not():
    problem = losses.logit_problem(256, 100)  # more samples than a block has
    ours_at_1 = partial(losses.wkd_logit_loss, temperature=1.0)
    ours = peak_extra_bytes(lambda: losses.value_and_gradient(ours_at_1, *problem))
    direct = peak_extra_bytes(lambda: losses.value_and_gradient(losses.direct_logit_loss, *problem))
    one_matrix_a_sample = 4 * 256 * 100 * 100
    assert ours < one_matrix_a_sample / 2 < one_matrix_a_sample < direct


def test_step_of_a_classifier_is_compared_with_student_and_teacher(tmp_path, capsys):
    code, figures = run(tmp_path, 'classification')
    assert code == 0
    (case,) = figures['cases']
    parts = {name: seconds[0] for name, seconds in case['parts'].items()}
    assert min(parts.values()) > 0
    ratio, batches = case['verdicts']
    assert ratio[0] == 'times student step + teacher forward'
    workers = 4  # of the config
    expected = workers * parts['distilled step'] / parts['batch of data']
    assert batches[2] == pytest.approx(expected)
    assert 'resnet32x4 to resnet8x4, 4 images of 32 x 32' in capsys.readouterr().out
