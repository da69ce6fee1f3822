# Exploratory: RoI features in place of P2, for WKD-F and its rivals.
#
# Data:    Tiny ImageNet in data/tiny-imagenet-200, http://cs231n.stanford.edu/tiny-imagenet-200.zip
# Command: python tools/compare.py studies/scenes_rois.py
# Runs:    as of scenes.py, whose records of the plain student and of KD it shares
_base_ = '_base_/scenes.py'

title = 'Photo scenes, 2400 steps: RoI features'
records = 'studies/results/scenes'
seeds = [1, 2, 3]
length = 2400
references = ['plain', 'kd']
search = _base_.pop('search_on_its_own_scenes')
_arms = _base_.pop('arms')
methods = {
    name: _arms[name] for name in ('plain', 'kd', 'fitnet_rois', 'pkd_rois', 'wkd_f', 'wkd_lf')
}
