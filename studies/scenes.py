# Distillation on scenes of real photographs: WKD and its rivals, equally searched.
#
# Data:    Tiny ImageNet in data/tiny-imagenet-200, http://cs231n.stanford.edu/tiny-imagenet-200.zip
# Command: python tools/compare.py studies/scenes.py
# Runs:    the search on the scenes of search, a third as long, and its check; the table on those
#          of val. PROTOCOL.md (changes) says what it can show, and how rivals get their seeds.
_base_ = '_base_/scenes.py'

title = 'Photo scenes, 2400 steps'
seeds = [1, 2, 3, 4, 5, 6]
length = 2400
references = ['plain', 'kd']
search = _base_.pop('search_on_its_own_scenes')
_arms = _base_.pop('arms')
_maps = ['fitnet', 'pkd', 'fgfi', 'reviewkd']  # rivals that compare maps
_rivals = ['kd', *_maps]
_own = ['wkd_l', 'wkd_f_fpn', 'wkd_lf_fpn']
methods = {name: _arms[name] for name in ['plain', *_rivals, 'kd_fitnet', *_own]}
for _name in _maps:  # whichever the search puts first gets the seeds of the others
    methods[_name]['seeds'] = [1, 2, 3]
# As long as WKD-L + WKD-F takes, whose step takes 1.47 times the processor time of a plain one.
methods['plain_equal'] = dict(_arms['plain'], title='plain student, equal compute', length=3600)
hypotheses = [
    dict(name='H1', title='WKD-L over KD', method='wkd_l', over='kd'),
    dict(name='H3', title='WKD-F over the best rival on maps', method='wkd_f_fpn', over=_maps),
    dict(
        name='H4a',
        title='WKD-L + WKD-F over the best single rival',
        method='wkd_lf_fpn',
        over=_rivals,
    ),
    dict(
        name='H4b',
        title='WKD-L + WKD-F over KD + FitNet, two terms as well',
        method='wkd_lf_fpn',
        over='kd_fitnet',
    ),
    dict(
        name='H6',
        title='WKD-L + WKD-F over a plain student of equal compute',
        method='wkd_lf_fpn',
        over='plain_equal',
    ),
]
lengths = ['scenes_x1.py', 'scenes_x4.py']
