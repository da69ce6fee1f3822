# What WKD-L does with background and with its form, on the mini set.
#
# Most sampled RoIs are background: their renormalised non-target part says little. Background in
# and out of the classes, foreground RoIs alone, the separated and the joint form; each with the
# same search over its weight.
#
# Command: python tools/compare.py studies/wkd_l.py
# Runs:    per method with a weight 3 of the search and 5 of the table
_base_ = '_base_/mini.py'

title = 'Forms of WKD-L on the mini set'
references = ['plain', 'kd']
search = dict(seeds=[101], factors=[0.3, 1, 3])

weight = 'model.distill.loss_wkd_l.loss.loss_weight'
term = 'model.distill.loss_wkd_l'
methods = dict(
    plain=dict(title='plain student', config='configs/mini/faster-rcnn_student.py'),
    kd=dict(
        title='KD',
        config='configs/mini/kd.py',
        weight='model.distill.loss_kd.loss.loss_weight',
    ),
    separated=dict(title='WKD-L', config='configs/mini/wkd-l.py', weight=weight),
    foreground=dict(
        title='foreground RoIs only',
        config='configs/mini/wkd-l.py',
        overrides={f'{term}.rois': 'foreground'},
        weight=weight,
    ),
    no_background=dict(
        title='foreground RoIs, no background class',
        config='configs/mini/wkd-l.py',
        overrides={f'{term}.rois': 'foreground', f'{term}.background': False},
        weight=weight,
    ),
    joint=dict(
        title='joint form',
        config='configs/mini/wkd-l.py',
        overrides={f'{term}.loss.separated': False},
        weight=weight,
    ),
    joint_foreground=dict(
        title='joint form, foreground RoIs only',
        config='configs/mini/wkd-l.py',
        overrides={f'{term}.loss.separated': False, f'{term}.rois': 'foreground'},
        weight=weight,
    ),
)
del weight, term
