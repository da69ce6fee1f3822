# Distillation methods on scenes of real photographs, each at its best place and equally searched.
#
# Data:    Tiny ImageNet in data/tiny-imagenet-200, http://cs231n.stanford.edu/tiny-imagenet-200.zip
# Command: python tools/compare.py studies/scenes.py
# Runs:    the search on the scenes of search, a third as long; the table on those of val
_base_ = '_base_/scenes.py'

title = 'Photo scenes, 2400 steps'
seeds = [1, 2, 3, 4, 5, 6, 7, 8]
length = 2400
references = ['plain', 'kd']
search = dict(
    seeds=[101],
    length=800,
    overrides=_base_.pop('on_search'),
    stages=[
        dict(keys='weight', factors=[0.3, 1, 3]),
        dict(keys=['optim_wrapper.optimizer.lr'], factors=[0.5, 1, 2]),
    ],
)
methods = _base_.pop('arms')
# Half as long again as a distilled run's steps: such a step takes 1.4 to 2.2 times a plain one.
methods['plain_equal'] = dict(
    methods['plain'], title='plain student, equal compute', like='plain', length=3840
)
_few = [1, 2, 3]  # exploratory
for _name in (
    'dkd', 'nst', 'ickd', 'fgfi', 'icd', 'fcfd', 'wkd_lf_box', 'fcfd_wkd', 'reviewkd_wkd',
):  # fmt: skip
    methods[_name]['seeds'] = _few
hypotheses = [
    dict(name='H1', title='WKD-L over KD', method='wkd_l', over='kd'),
    dict(name='H3a', title='WKD-F over FitNet on P2', method='wkd_f_fpn', over='fitnet'),
    dict(name='H3b', title='WKD-F over PKD on P2', method='wkd_f_fpn', over='pkd'),
    dict(name='H3c', title='WKD-F over ReviewKD', method='wkd_f_fpn', over='reviewkd'),
    dict(name='H3d', title='WKD-F over FitNet on RoIs', method='wkd_f', over='fitnet_rois'),
    dict(name='H3e', title='WKD-F over PKD on RoIs', method='wkd_f', over='pkd_rois'),
    dict(
        name='H4',
        title='WKD-L + WKD-F over the best single rival',
        method='wkd_lf',
        over=['kd', 'fitnet', 'fitnet_rois', 'pkd', 'pkd_rois', 'reviewkd'],
    ),
    dict(
        name='H6',
        title='WKD-L + WKD-F over a plain student of equal compute',
        method='wkd_lf',
        over='plain_equal',
    ),
]
lengths = ['scenes_x1.py', 'scenes_x4.py']
