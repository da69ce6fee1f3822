# How gains go with the length of training: the last of three, at twice the steps of scenes.py.
#
# Command: python tools/compare.py studies/scenes_x4.py
# Runs:    3 of the table for each method; weights and rates are those that scenes.py chose
_base_ = '_base_/scenes.py'

title = 'Photo scenes, 4800 steps'
seeds = [1, 2, 3]
length = 4800
references = ['plain', 'kd']
search = dict(of='scenes.py')
_base_.pop('search_on_its_own_scenes')
_arms = _base_.pop('arms')
methods = {name: _arms[name] for name in ('plain', 'kd', 'wkd_l', 'wkd_f_fpn', 'wkd_lf_fpn')}
methods['plain_equal'] = dict(_arms['plain'], title='plain student, equal compute', length=7200)
