# How gains go with the length of training: the first of three, at half the steps of scenes.py.
#
# Command: python tools/compare.py studies/scenes_x1.py
# Runs:    3 of the table for each method; weights and rates are those that scenes.py chose
_base_ = '_base_/scenes.py'

title = 'Photo scenes, 1200 steps'
seeds = [1, 2, 3]
length = 1200
references = ['plain', 'kd']
search = dict(of='scenes.py')
_base_.pop('search_on_its_own_scenes')
_arms = _base_.pop('arms')
methods = {name: _arms[name] for name in ('plain', 'kd', 'wkd_l', 'wkd_f_fpn', 'wkd_lf_fpn')}
methods['plain_equal'] = dict(_arms['plain'], title='plain student, equal compute', length=1800)
