# All training images of CIFAR-100, wrn_16_4 to wrn_10_2: here the hypotheses are tested.
#
# PROTOCOL.md says what is claimed and what would refute it. WKD-L is that of the teacher's
# classifier (rows); the other costs are its controls.
#
# Command: python tools/compare.py studies/cifar100.py
# Needs:   data/cifar100 (the archive, or cifar100.npz)
_base_ = '_base_/cifar100_arms.py'

title = 'CIFAR-100, 450 images a class, 12 epochs'
seeds = [1, 2, 3, 4, 5, 6, 7, 8]
length = 12
search = dict(length=4)
lengths = ['cifar100_3e.py', 'cifar100_6e.py']
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
_wkd_l = f'{_configs}/wkd-l_{_pair}'
_cost = 'model.distill.loss_wkd_l.loss.cost'
_transport = 'model.distill.loss_wkd_l.loss.transport_weight'
_rows = dict(type='ClassifierCost')
_oracle = dict(type='GroupCost', grouping='cifar100', within=0.5)
methods = dict(
    plain_equal=dict(
        title='plain student, equal compute',
        config=f'{_configs}/baseline/wrn_10_2_short.py',
        overrides={
            'model.ce_weight': 1.0,
            'train_dataloader.dataset.augmentations': None,  # new crops in every epoch
        },
        weight='model.ce_weight',
        like='plain',
        length=36,
    ),
    wkd_l_constant=dict(
        title='WKD-L, constant cost',
        config=_wkd_l,
        overrides={**_logits, _cost: dict(_delete_=True, type='ConstantCost')},
        weight=_transport,
    ),
    wkd_l_shuffled=dict(
        title='WKD-L, classes shuffled',
        config=_wkd_l,
        overrides={**_logits, _cost: dict(_delete_=True, type='ShuffledCost', cost=_rows)},
        weight=_transport,
        like='wkd_l',
    ),
    wkd_l_oracle=dict(
        title='WKD-L, superclasses',
        config=_wkd_l,
        overrides={**_logits, _cost: dict(_delete_=True, **_oracle)},
        weight=_transport,
        seeds=_few,
    ),
    wkd_l_oracle_shuffled=dict(
        title='WKD-L, superclasses shuffled',
        config=_wkd_l,
        overrides={**_logits, _cost: dict(_delete_=True, type='ShuffledCost', cost=_oracle)},
        weight=_transport,
        like='wkd_l_oracle',
        seeds=_few,
    ),
    wkd_l_gaussian=dict(
        title='WKD-L, Gaussians of features',
        config=_wkd_l,
        overrides={
            **_logits,
            _cost: dict(
                _delete_=True,
                type='FileCost',
                path='data/interrelation/cifar100_wrn_16_4_gaussian-diag.safetensors',
            ),
        },
        weight=_transport,
        like='wkd_l',
        seeds=_few,
    ),
    dkd=dict(
        title='DKD',
        config=f'{_configs}/dkd_{_pair}',
        overrides={**_logits, 'model.distill.loss_dkd.loss.beta': 4.0},
        weight='model.distill.loss_dkd.loss.beta',
    ),
    reviewkd=dict(
        title='ReviewKD',
        config=f'{_configs}/reviewkd_{_pair}',
        overrides=_teacher,
        weight='model.distill.loss_reviewkd.loss.loss_weight',
        seeds=_five,
    ),
    fitnet_middle=dict(
        title='FitNet, middle map',
        config=f'{_configs}/fitnet_{_pair}',
        overrides=_teacher,
        weight='model.distill.loss_fitnet.loss.loss_weight',
        seeds=_five,
    ),
    lskd=dict(
        title='KD + LSKD',
        config=f'{_configs}/kd-lskd_{_pair}',
        overrides={**_logits, 'model.ce_weight': 1.0},
        weight='model.distill.loss_kd.loss.loss_weight',
        seeds=_few,
    ),
    dist=dict(
        title='DIST',
        config=f'{_configs}/dist_{_pair}',
        overrides=_logits,
        weight='model.distill.loss_dist.loss.loss_weight',
        seeds=_few,
    ),
    nkd=dict(
        title='NKD',
        config=f'{_configs}/nkd_{_pair}',
        overrides={**_logits, 'model.distill.loss_nkd.loss.loss_weight': 1.0},
        weight='model.distill.loss_nkd.loss.loss_weight',
        seeds=_few,
    ),
    wttm=dict(
        title='WTTM',
        config=f'{_configs}/wttm_{_pair}',
        overrides=_logits,
        weight='model.distill.loss_wttm.loss.loss_weight',
        seeds=_few,
    ),
    crd=dict(
        title='CRD',
        config=f'{_configs}/crd_{_pair}',
        overrides={**_teacher, 'train_dataloader.dataset.with_index': True},
        weight='model.distill.loss_crd.loss.loss_weight',
        seeds=_few,
    ),
    rkd=dict(
        title='RKD',
        config=f'{_configs}/rkd_{_pair}',
        overrides=_teacher,
        weight=[
            'model.distill.loss_rkd.loss.distance_weight',
            'model.distill.loss_rkd.loss.angle_weight',
        ],
        seeds=_few,
    ),
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
            'data/interrelation/cifar100_wrn_16_4_gaussian-diag.safetensors',
            '--force',
        ],
        makes='data/interrelation/cifar100_wrn_16_4_gaussian-diag.safetensors',
        needs=['studies/results/cifar100/teacher.pth'],
    ),
]
_rivals = [
    'kd', 'dkd', 'lskd', 'dist', 'nkd', 'wttm', 'crd', 'reviewkd', 'fitnet', 'fitnet_middle', 'rkd',
]  # fmt: skip
hypotheses = [
    dict(name='H1', title='WKD-L beats KD', method='wkd_l', over='kd'),
    dict(name='H2a', title='rows beat a constant cost', method='wkd_l', over='wkd_l_constant'),
    dict(name='H2b', title='rows beat shuffled rows', method='wkd_l', over='wkd_l_shuffled'),
    dict(name='H3a', title='WKD-F beats FitNet', method='wkd_f', over=['fitnet', 'fitnet_middle']),
    dict(name='H3b', title='WKD-F beats ReviewKD', method='wkd_f', over='reviewkd'),
    dict(name='H4', title='both beat the best rival', method='wkd_lf', over=_rivals),
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
