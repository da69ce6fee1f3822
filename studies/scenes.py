# Distillation on scenes of real photographs: WKD and rivals at the same places, equally searched.
#
# Data:    Tiny ImageNet in data/tiny-imagenet-200, http://cs231n.stanford.edu/tiny-imagenet-200.zip
# Command: python tools/compare.py studies/scenes.py
# Runs:    the search on the scenes of search, a third as long; the table on those of val
_base_ = '_base_/scenes.py'

title = 'Photo scenes, 2400 steps'
seeds = [1, 2, 3, 4, 5, 6, 7, 8]
length = 2400
references = ['plain', 'kd']
search = _base_.pop('search_on_its_own_scenes')
_arms = _base_.pop('arms')
methods = {
    name: _arms[name]
    for name in (
        'plain', 'kd', 'fitnet', 'pkd', 'reviewkd', 'wkd_l', 'wkd_f_fpn', 'wkd_lf_fpn', 'dkd',
        'nst', 'ickd', 'fgfi', 'icd',
    )
}  # fmt: skip
for _name in ('dkd', 'nst', 'ickd', 'fgfi', 'icd'):  # exploratory
    methods[_name]['seeds'] = [1, 2, 3]
# As long as WKD-L + WKD-F takes, whose step takes 1.47 times the processor time of a plain one.
methods['plain_equal'] = dict(
    _arms['plain'], title='plain student, equal compute', like='plain', length=3600
)
hypotheses = [
    dict(name='H1', title='WKD-L over KD', method='wkd_l', over='kd'),
    dict(name='H3a', title='WKD-F over FitNet', method='wkd_f_fpn', over='fitnet'),
    dict(name='H3b', title='WKD-F over PKD', method='wkd_f_fpn', over='pkd'),
    dict(name='H3c', title='WKD-F over ReviewKD', method='wkd_f_fpn', over='reviewkd'),
    dict(
        name='H4',
        title='WKD-L + WKD-F over the best single rival',
        method='wkd_lf_fpn',
        over=['kd', 'fitnet', 'pkd', 'reviewkd'],
    ),
    dict(
        name='H6',
        title='WKD-L + WKD-F over a plain student of equal compute',
        method='wkd_lf_fpn',
        over='plain_equal',
    ),
]
lengths = ['scenes_x1.py', 'scenes_x4.py']
