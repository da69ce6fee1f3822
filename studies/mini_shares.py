# Weights by gradients on the mini set: a share of the task's gradient that nobody has searched,
# against the weights of the configs, chosen by hand. Exploratory; mini.py has the search.
#
# Command: python tools/compare.py studies/mini_shares.py --jobs 2
# Runs:    9 arms of 3 seeds
_base_ = '_base_/mini.py'

title = 'Weights by gradients on the mini set'
seeds = [1, 2, 3]
records = 'studies/results/mini_shares'
references = ['plain']

_weight = 'model.distill.loss_{}.loss.loss_weight'
_p2 = {'model.distill.loss_wkd_f_fpn.levels': [0]}
_arms = dict(
    kd=('KD', 'kd', 'kd', {}),
    wkd_l=('WKD-L', 'wkd-l', 'wkd_l', {}),
    wkd_f=('WKD-F on P2', 'wkd-f-fpn', 'wkd_f_fpn', _p2),
    fitnet=('FitNet', 'fitnet', 'fitnet', {}),
)
methods = dict(plain=dict(title='plain student', config='configs/mini/faster-rcnn_student.py'))
for _name, (_title, _config, _term, _changes) in _arms.items():
    _share = dict(_delete_=True, type='GradientShare', share=0.2, every=10, warm_up=50)
    methods[_name] = dict(
        title=f'{_title}, weight of the config',
        config=f'configs/mini/{_config}.py',
        overrides=dict(_changes),
    )
    methods[f'{_name}_share'] = dict(
        title=f'{_title}, share 0.2',
        config=f'configs/mini/{_config}.py',
        overrides={**_changes, _weight.format(_term): _share},
    )
