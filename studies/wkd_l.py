# What WKD-L does with background and with its form, on the mini set, and what the box term lacks.
#
# Most sampled RoIs are background: their renormalised non-target part says little. Background in
# and out of the classes, foreground RoIs alone, the separated and the joint form; class costs have
# a study of their own, interrelation.py. Last, the box term at a tenth of its published weight,
# which begins at twice the task loss here. Weights are those that the search of methods.py chose
# for WKD-L, for KD and for WKD-L + WKD-F.
#
# Command: python tools/compare.py studies/wkd_l.py --jobs 2
# Runs:    5 of the table for each method; those of the first three are runs of methods.py as well
_base_ = '_base_/mini.py'

title = 'Forms of WKD-L on the mini set'
references = ['plain', 'wkd_l']
length = 200  # as in methods.py

term = 'model.distill.loss_{}'
weight = f'{term}.loss.loss_weight'
forms = dict(
    wkd_l=('WKD-L', {}),
    foreground=('foreground RoIs only', dict(rois='foreground')),
    no_background=(
        'foreground RoIs, no background class',
        dict(rois='foreground', background=False),
    ),
    joint=('joint form', {'loss.separated': False}),
    joint_foreground=(
        'joint form, foreground RoIs only',
        {'rois': 'foreground', 'loss.separated': False},
    ),
)
methods = dict(
    plain=dict(title='plain student', config='configs/mini/faster-rcnn_student.py'),
    kd=dict(title='KD', config='configs/mini/kd.py', overrides={weight.format('kd'): 3.0}),
    **{
        name: dict(
            title=title,
            config='configs/mini/wkd-l.py',
            overrides={
                weight.format('wkd_l'): 3.0,
                **{f'{term}.{key}'.format('wkd_l'): value for key, value in options.items()},
            },
        )
        for name, (title, options) in forms.items()
    },
    light_box=dict(
        title='WKD-L + WKD-F + a tenth of the box term',
        config='configs/mini/wkd-lf-box.py',
        overrides={
            weight.format('wkd_l'): 3.0,
            weight.format('wkd_f'): 0.015,
            weight.format('wkd_box'): 0.3,
        },
    ),
)
del term, weight, forms
