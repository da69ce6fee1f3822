"""The report: all that was found, and what is missing by name."""

import copy

from gpu_check.report import all_done, report, summary

STEP = dict(seconds=0.1, extra_bytes=2**21, operators=20, launches=30, busy_seconds=0.05)
RESULTS = dict(
    version='1.2.3',
    device='cuda',
    tiny=False,
    parts=dict(
        numerics=dict(
            state='done',
            seconds=20.5,
            found=dict(
                facts=dict(device='Some card, 80 GiB', torch='2.9'),
                losses={
                    'KDLoss': {
                        'float32': dict(value=1e-7, gradient=2e-7),
                        'deterministic': dict(value=1e-7, gradient=2e-7, same_bits=True),
                        'float16': dict(value=None, gradient=3e-4),
                    },
                    'NSTLoss': {
                        'float32': dict(value=3e-7, gradient=4e-7),
                        'deterministic': dict(error='RuntimeError: no such kernel'),
                    },
                    'SPLoss': dict(error='ValueError: broken'),
                },
            ),
        ),
        losses=dict(
            state='out of time',
            seconds=65.0,
            error='stopped after 65 s',
            found={
                'facts': dict(device='Some card, 80 GiB'),
                'logits 4 x 3': {
                    'KD': dict(STEP, queued_seconds=0.01, waits={}),
                    'WKD-L': dict(STEP, queued_seconds=0.02, waits={'wkd_det/a.py:7': 2}),
                    'direct': dict(error='OutOfMemoryError: tried to allocate 9 GiB'),
                },
            },
        ),
        classifiers=dict(
            state='crashed', seconds=3.0, error='killed by SIGSEGV: no output', found={}
        ),
        detectors=dict(
            state='done',
            seconds=99.0,
            found=dict(
                setup=dict(pair='A to B', size='8 x 9', precision='mixed precision'),
                models={'teacher fused': dict(error='KeyError: fuse')},
                steps={
                    'batch 2': {
                        'plain student': dict(STEP, ratio=[1, 1, 1], waits={'mmdet/b.py:1': 3}),
                        'KD': dict(
                            STEP,
                            ratio=[1.25, 1.2, 1.5],
                            waits={'mmdet/b.py:1 from wkd_det/m.py:3': 4, 'wkd_det/a.py:7': 1},
                        ),
                        'WKD-L': dict(error='RuntimeError: CUDA error'),
                        'WKD-F': dict(seconds=0.2, ratio=None),
                    },
                    'batch 8': dict(error='left out: no time was left'),
                },
                forms={'batch 2': {'as it is': dict(STEP, ratio=[2, 2, 2], waits={})}},
            ),
        ),
    ),
)


def test_parts_that_crashed_are_named_and_the_others_stand():
    text = report(RESULTS)
    assert text.startswith('# GPU check of wkd_det 1.2.3\n\n- device: Some card, 80 GiB\n')
    assert '| losses | out of time | 65.0 | stopped after 65 s |' in text
    assert '| classifiers | crashed | 3.0 | killed by SIGSEGV: no output |' in text
    assert '## detectors' in text
    assert '## classifiers' not in text


def test_errors_of_losses():
    text = report(RESULTS)
    assert '| loss | float32 | deterministic | float16 |' in text
    kd = '| KDLoss | 1.0e-07 / 2.0e-07 | 1.0e-07 / 2.0e-07, same bits | NOT FINITE / 3.0e-04 |'
    assert kd in text
    assert '| NSTLoss | 3.0e-07 / 4.0e-07 | ERROR |  |' in text
    assert '- NSTLoss, deterministic: RuntimeError: no such kernel' in text
    assert '- SPLoss: ValueError: broken' in text


def test_other_bits():
    results = copy.deepcopy(RESULTS)
    kd = results['parts']['numerics']['found']['losses']['KDLoss']
    kd['deterministic']['same_bits'] = False
    assert '1.0e-07 / 2.0e-07, OTHER BITS |' in report(results)


def test_measures_of_losses():
    text = report(RESULTS)
    header = '|  | ms | ms in a row | ms on the GPU | extra MiB | launches | operators | waits |'
    assert header in text
    assert '| KD | 100 | 10 | 50 | 2 | 30 | 20 | 0 |' in text
    assert '| WKD-L | 100 | 20 | 50 | 2 | 30 | 20 | 2 |' in text
    assert '| direct |  |  |  |  |  |  |  |' in text
    assert '- direct: OutOfMemoryError: tried to allocate 9 GiB' in text
    assert '- WKD-L waits at `wkd_det/a.py:7` (2)' in text


def test_steps_and_where_they_wait():
    text = report(RESULTS)
    assert '### A to B, 8 x 9, mixed precision, batch 2: training steps' in text
    assert '| KD | 100 | 50 | 2 | 30 | 20 | 1.250 | 1.200 to 1.500 | 5 |' in text
    assert '| WKD-F | 200 |  |  |  |  |  |  |  |' in text
    assert '- WKD-L: RuntimeError: CUDA error' in text
    assert '- plain student waits at `mmdet/b.py:1` (3)' in text
    beyond = '`mmdet/b.py:1 from wkd_det/m.py:3` (1), `wkd_det/a.py:7` (1)'
    assert f'- KD waits beyond the plain step at {beyond}' in text
    assert '### A to B, 8 x 9, mixed precision, batch 8: training steps' in text
    assert '- left out: no time was left' in text
    assert '### A to B, 8 x 9, mixed precision, batch 2: forms of the teacher' in text
    assert '- teacher fused: KeyError: fuse' in text


def test_predictions_are_part_of_it():
    text = summary(RESULTS)
    assert '## Predictions' in text
    row = 'largest float32 error of a loss (SPLoss failed) | below 1e-05 |  | not met |'
    assert row in text
    assert text.count('not measured') == 4


def test_what_figures_of_a_trial_mean():
    text = summary(dict(RESULTS, device='cpu', tiny=True))
    assert 'small sizes: this run tries the tool, its times mean nothing' in text
    assert 'on a CPU nothing waits' in text
    assert text.count('not measured') == 5
    assert 'on a CPU' not in summary(RESULTS)


def test_a_run_of_which_nothing_is_there():
    parts = dict(losses=dict(state='not started', seconds=0))
    assert '| losses | not started | 0 |  |' in report(dict(RESULTS, parts=parts))


def test_whether_all_came_to_their_end():
    assert not all_done(RESULTS)
    assert all_done(dict(parts=dict(numerics=RESULTS['parts']['numerics'])))
