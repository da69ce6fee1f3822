# What WKD-L does with background and with its form, on the mini set.
#
# Most sampled RoIs are background: their renormalised non-target part says little. Background in
# and out of the classes, foreground RoIs alone, the separated and the joint form; each with the
# same search over its weight. Class costs have a study of their own, interrelation.py.
#
# Command: python tools/compare.py studies/wkd_l.py --jobs 2
# Runs:    per method with a weight 3 of the search and 5 of the table
_base_ = '_base_/mini.py'

title = 'Forms of WKD-L on the mini set'
references = ['plain', 'separated']
length = 200  # as in methods.py
search = dict(seeds=[101], factors=[0.3, 1, 3], length=100)

term = 'model.distill.loss_wkd_l'
forms = dict(
    separated=('WKD-L', {}),
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
    kd=dict(
        title='KD',
        config='configs/mini/kd.py',
        weight='model.distill.loss_kd.loss.loss_weight',
    ),
    **{
        name: dict(
            title=title,
            config='configs/mini/wkd-l.py',
            overrides={f'{term}.{key}': value for key, value in options.items()},
            weight=f'{term}.loss.loss_weight',
        )
        for name, (title, options) in forms.items()
    },
)
del term, forms
