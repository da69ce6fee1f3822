# Exploratory, and cut first: combinations whose steps take two to four times a plain one.
#
# Data:    Tiny ImageNet in data/tiny-imagenet-200, http://cs231n.stanford.edu/tiny-imagenet-200.zip
# Command: python tools/compare.py studies/scenes_pairs.py
# Runs:    as of scenes.py, whose records of the plain student and of KD it shares
_base_ = '_base_/scenes.py'

title = 'Photo scenes, 2400 steps: costly combinations'
records = 'studies/results/scenes'
seeds = [1, 2, 3]
length = 2400
references = ['plain', 'kd']
search = _base_.pop('search_on_its_own_scenes')
_arms = _base_.pop('arms')
methods = {
    name: _arms[name] for name in ('plain', 'kd', 'wkd_lf_box', 'reviewkd_wkd', 'fcfd', 'fcfd_wkd')
}
