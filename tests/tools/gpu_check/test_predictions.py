"""Verdicts on the predictions: met, not met, and not measured wherever figures are missing."""

import pytest

from gpu_check.predictions import judge


def results(device='cuda', tiny=False, **parts):
    found = {name: dict(state='done', found=found) for name, found in parts.items()}
    return dict(device=device, tiny=tiny, parts=found)


def steps(batch, kd=1.0, wkd_l=1.0, both=None):
    rows = {'KD': dict(seconds=kd), 'WKD-L': dict(seconds=wkd_l)}
    if both is not None:
        rows['WKD-L + WKD-F'] = dict(ratio=[both, both, both])
    return dict(steps={batch: rows})


def errors(**largest):
    modes = {name: dict(float32=dict(value=0.0, gradient=one)) for name, one in largest.items()}
    return dict(losses=modes)


def verdicts(found):
    return [one.verdict for one in judge(found)]


LOGITS = [
    ('classifiers', 'batch 256', 0),
    ('detectors', 'batch 2', 1),
    ('detectors', 'batch 8', 2),
]


@pytest.mark.parametrize(('part', 'batch', 'index'), LOGITS)
@pytest.mark.parametrize(
    ('wkd_l', 'verdict'), [(0.9, 'met'), (1.02, 'met'), (1.03001, 'not met'), (2.0, 'not met')]
)
def test_logits(part, batch, index, wkd_l, verdict):
    judged = judge(results(**{part: steps(batch, wkd_l=wkd_l)}))
    assert judged[index].verdict == verdict
    assert judged[index].measured == pytest.approx(wkd_l - 1)
    assert judged[index].what == f'{part}, {batch}: WKD-L minus KD, over the step with KD'
    assert [one.verdict for one in judged].count('not measured') == 4


@pytest.mark.parametrize(
    ('ratio', 'verdict'),
    [(1.29, 'not met'), (1.3, 'met'), (1.45, 'met'), (1.6, 'met'), (1.61, 'not met')],
)
def test_distilled_detectors(ratio, verdict):
    judged = judge(results(detectors=steps('batch 8', both=ratio)))[3]
    assert judged == (
        'detectors, batch 8: WKD-L + WKD-F over the plain step',
        'between 1.3 and 1.6', ratio, verdict,
    )  # fmt: skip


@pytest.mark.parametrize(
    ('largest', 'worst', 'verdict'),
    [
        (dict(KDLoss=1e-7, SPLoss=9e-6), 'SPLoss', 'met'),
        (dict(KDLoss=2e-5, SPLoss=9e-6), 'KDLoss', 'not met'),
    ],
)
def test_numbers(largest, worst, verdict):
    judged = judge(results(numerics=errors(**largest)))[4]
    assert judged == (
        f'largest float32 error of a loss ({worst})', 'below 1e-05', largest[worst], verdict,
    )  # fmt: skip


def test_a_loss_that_failed_is_no_loss_without_error():
    found = errors(KDLoss=1e-7, ATLoss=None)  # not finite
    found['losses']['SPLoss'] = dict(float32=dict(error='RuntimeError: no kernel'))
    found['losses']['NSTLoss'] = dict(error='RuntimeError: no loss')
    judged = judge(results(numerics=found))[4]
    assert judged.what == 'largest float32 error of a loss (ATLoss, SPLoss, NSTLoss failed)'
    assert (judged.measured, judged.verdict) == (None, 'not met')


def test_losses_that_are_missing_may_be_the_worst():
    found = results(numerics=errors(KDLoss=1e-7))
    found['parts']['numerics'].update(state='crashed')
    assert verdicts(found)[4] == 'not measured'


FULL = dict(
    classifiers=steps('batch 256'),
    detectors=dict(steps=steps('batch 2')['steps'] | steps('batch 8', both=1.4)['steps']),
    numerics=errors(KDLoss=1e-7),
)


def test_a_whole_run():
    assert verdicts(results(**FULL)) == ['met'] * 5
    assert verdicts(results(device='cuda:1', **FULL)) == ['met'] * 5


@pytest.mark.parametrize(
    'found',
    [
        results(),
        results(device='cpu', tiny=True, **FULL),
        results(tiny=True, **FULL),
        results(
            classifiers=dict(steps={}),
            detectors=dict(steps={'batch 8': dict(error='OutOfMemoryError')}),
            numerics={},
        ),
        results(
            classifiers=dict(
                steps={'batch 256': {'KD': dict(error='no'), 'WKD-L': dict(seconds=1)}}
            )
        ),
    ],
    ids=['nothing', 'CPU', 'small sizes', 'no rows', 'a row that failed'],
)
def test_figures_that_are_missing_or_mean_nothing(found):
    judged = judge(found)
    assert {one.verdict for one in judged} == {'not measured'}
    assert {one.measured for one in judged} == {None}
