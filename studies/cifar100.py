# All training images of CIFAR-100, wrn_16_4 to wrn_10_2: here the hypotheses are tested.
#
# PROTOCOL.md says what is claimed and what would refute it. WKD-L is that of the teacher's
# classifier (rows); the other costs are its controls.
#
# Command: python tools/compare.py studies/cifar100.py
# Needs:   data/cifar100 (the archive, or cifar100.npz)
_base_ = '_base_/cifar100_equal.py'

title = 'CIFAR-100, 450 images a class, 6 epochs'
seeds = [1, 2, 3, 4, 5, 6, 7, 8]
length = 6
search = dict(length=3, check=dict(factors=3))
lengths = ['cifar100_3e.py', 'cifar100_12e.py']
records = 'studies/results/cifar100'

_few = [1, 2, 3]  # of what is exploratory
_five = [1, 2, 3, 4, 5]  # where the teacher runs on every batch, which takes three times as long
_configs = 'configs/classification/cifar100'
_pair = 'wrn_16_4-to-wrn_10_2_short.py'
_teacher = {'model.teacher.checkpoint': 'studies/results/cifar100/teacher.pth'}
_logits = {
    **_teacher,
    'train_dataloader.dataset.stored_teacher': 'data/teacher/cifar100_wrn_16_4',
}
_rows = dict(type='ClassifierCost')
_oracle = dict(type='GroupCost', grouping='cifar100', within=0.5)
_gaussian = 'data/interrelation/cifar100_wrn_16_4_gaussian-diag.safetensors'
_costs = dict(  # title, cost, and what else the arm says
    wkd_l_constant=('constant cost', dict(type='ConstantCost'), {}),
    wkd_l_shuffled=('classes shuffled', dict(type='ShuffledCost', cost=_rows), dict(like='wkd_l')),
    wkd_l_oracle=('superclasses', _oracle, dict(seeds=_few)),
    wkd_l_oracle_shuffled=(
        'superclasses shuffled',
        dict(type='ShuffledCost', cost=_oracle),
        dict(like='wkd_l_oracle', seeds=_few),
    ),
    wkd_l_gaussian=(
        'Gaussians of features',
        dict(type='FileCost', path=_gaussian),
        dict(like='wkd_l', seeds=_few),
    ),
)
_term = 'model.distill.loss_{}'

_warm_up = {  # half an epoch of growing weight, as 20 are of the 240 that the authors train for
    term: [dict(type='TermScheduleHook', terms=[f'loss_{term}'], by_epoch=False, warm_up=176)]
    for term in ('dkd', 'reviewkd')
}
_dkd = {**_logits, _term.format('dkd.loss.beta'): 4.0, 'custom_hooks': _warm_up['dkd']}
_lskd = {**_logits, 'model.ce_weight': 1.0, _term.format('kd.loss.loss_weight'): 30.0}
_rivals = dict(  # title, config, term, its keys that the search scales, overrides, seeds
    dkd=('DKD', 'dkd', 'dkd', ['beta'], _dkd, None),
    reviewkd=(
        'ReviewKD', 'reviewkd', 'reviewkd', ['loss_weight'],
        {**_teacher, 'custom_hooks': _warm_up['reviewkd']}, None,
    ),
    fitnet_middle=('FitNet, middle map', 'fitnet', 'fitnet', ['loss_weight'], _teacher, _five),
    lskd=('KD + LSKD', 'kd-lskd', 'kd', ['loss_weight'], _lskd, _few),
    dist=('DIST', 'dist', 'dist', ['loss_weight'], _logits, _few),
    nkd=('NKD', 'nkd', 'nkd', ['gamma'], _logits, _few),
    wttm=('WTTM', 'wttm', 'wttm', ['loss_weight'], _logits, _few),
)  # fmt: skip
# Terms beside ReviewKD's, each with the weight that the search chose for it alone.
_kd_loss = dict(type='KDLoss', temperature=4.0, loss_weight=3.0)
_wkd_l_loss = dict(
    type='WKDLogitLoss', cost=_rows, temperature=4.0, sharpness=1.0, transport_weight=90.0
)
_wkd_f_loss = dict(type='WKDFeatureLoss', grid=1, mean_cov_ratio=4.0, loss_weight=0.24)
_connector = dict(type='ConvConnector', act_cfg=dict(type='ReLU'))
_joined = dict(
    kd=('KD', dict(tap='logits', loss=_kd_loss)),
    wkd_l=('WKD-L', dict(tap='logits', loss=_wkd_l_loss)),
    wkd_f=('WKD-F', dict(tap='pooled_map', connector=_connector, loss=_wkd_f_loss)),
)
_review_title, _review, _, _review_keys, _review_overrides, _ = _rivals['reviewkd']
methods = dict(
    plain_equal=dict(length=18),
    **{
        name: dict(
            title=f'WKD-L, {title}',
            config=f'{_configs}/wkd-l_{_pair}',
            overrides={**_logits, _term.format('wkd_l.loss.cost'): dict(_delete_=True, **cost)},
            weight=_term.format('wkd_l.loss.transport_weight'),
            **more,
        )
        for name, (title, cost, more) in _costs.items()
    },
    **{
        name: dict(
            title=title,
            config=f'{_configs}/{config}_{_pair}',
            overrides=overrides,
            weight=[_term.format(f'{term}.loss.{key}') for key in keys],
            **({} if own_seeds is None else dict(seeds=own_seeds)),
        )
        for name, (title, config, term, keys, overrides, own_seeds) in _rivals.items()
    },
    **{
        f'reviewkd_{name}': dict(
            title=f'{_review_title} + {title}',
            config=f'{_configs}/{_review}_{_pair}',
            overrides={**_review_overrides, _term.format(name): term},
            weight=[_term.format(f'{_review}.loss.{key}') for key in _review_keys],
            like='reviewkd',
            seeds=_few,
        )
        for name, (title, term) in _joined.items()
    },
)
prepare = [
    *_base_.prepare,
    dict(
        name='costs',
        command=[
            'python',
            'tools/build_interrelation.py',
            'configs/classification/cifar100/baseline/wrn_16_4_short.py',
            'studies/results/cifar100/teacher.pth',
            '--method',
            'gaussian-diag',
            '--output',
            _gaussian,
            '--force',
        ],
        makes=_gaussian,
        needs=['studies/results/cifar100/teacher.pth'],
    ),
]
hypotheses = [
    dict(name='H1', title='WKD-L beats KD', method='wkd_l', over='kd'),
    dict(name='H2a', title='rows beat a constant cost', method='wkd_l', over='wkd_l_constant'),
    dict(name='H2b', title='rows beat shuffled rows', method='wkd_l', over='wkd_l_shuffled'),
    dict(name='H3a', title='WKD-F beats FitNet', method='wkd_f', over=['fitnet', 'fitnet_middle']),
    dict(name='H3b', title='WKD-F beats ReviewKD', method='wkd_f', over='reviewkd'),
    dict(
        name='H4',
        title='both beat the best rival',
        method='wkd_lf',
        over=['kd', 'fitnet', *_rivals],
    ),
    dict(
        name='H5a',
        title='mistakes stay in the superclass',
        method='wkd_l',
        over='kd',
        metric='groups/accuracy',
    ),
    dict(
        name='H5b',
        title='mistakes are nearer',
        method='wkd_l',
        over='kd',
        metric='groups/distance',
    ),
    dict(
        name='H5c',
        title='NLL no worse',
        method='wkd_l',
        over='kd',
        metric='probabilities/nll',
        margin=0.02,
    ),
    dict(
        name='H6a',
        title='a gain at four times the length',
        method='wkd_lf',
        over='plain',
        study='cifar100_12e.py',
    ),
    dict(name='H6b', title='a gain at equal compute', method='wkd_lf', over='plain_equal'),
    dict(
        name='H7a',
        title='better calibrated than KD',
        method='wkd_l',
        over='kd',
        metric='probabilities/ece',
    ),
    dict(
        name='H7b',
        title='better calibrated than DKD',
        method='wkd_l',
        over='dkd',
        metric='probabilities/ece',
    ),
]
