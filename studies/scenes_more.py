# Exploratory: more rivals of scenes.py, and WKD-L with a constant cost.
#
# Data:    Tiny ImageNet in data/tiny-imagenet-200, http://cs231n.stanford.edu/tiny-imagenet-200.zip
# Command: python tools/compare.py studies/scenes_more.py
# Runs:    as of scenes.py, whose records of the plain student, KD and WKD-L it shares
_base_ = '_base_/scenes.py'

title = 'Photo scenes, 2400 steps: more rivals'
records = 'studies/results/scenes'
seeds = [1, 2, 3]
length = 2400
references = ['plain', 'kd', 'wkd_l']
search = _base_.pop('search_on_its_own_scenes')
_arms = _base_.pop('arms')
methods = {
    name: _arms[name]
    for name in ('plain', 'kd', 'wkd_l', 'wkd_l_constant', 'dkd', 'nst', 'ickd', 'icd')
}
