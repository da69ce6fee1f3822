# CRD and RKD on CIFAR-100, wrn_16_4 to wrn_10_2, beside plain and KD of cifar100.py, whose records
# these are too: exploratory, and by far the slowest steps. PROTOCOL.md (changes) says why they are
# a study of their own.
#
# Command: python tools/compare.py studies/cifar100_relations.py
# Needs:   data/cifar100 (the archive, or cifar100.npz)
_base_ = '_base_/cifar100_arms.py'

title = 'CIFAR-100, relations between images, 6 epochs'
seeds = [1, 2, 3]
length = 6
search = dict(length=3, check=dict(factors=3))
records = 'studies/results/cifar100'

_arms = _base_.pop('methods')
_rivals = dict(  # title, keys of its loss that the search scales, what its data say
    crd=('CRD', ['loss_weight'], {'train_dataloader.dataset.with_index': True}),
    rkd=('RKD', ['distance_weight', 'angle_weight'], {}),
)
methods = dict(
    plain=_arms['plain'],
    kd=_arms['kd'],
    **{
        name: dict(
            title=title,
            config=f'configs/classification/cifar100/{name}_wrn_16_4-to-wrn_10_2_short.py',
            overrides={
                'model.teacher.checkpoint': 'studies/results/cifar100/teacher.pth',
                **overrides,
            },
            weight=[f'model.distill.loss_{name}.loss.{key}' for key in keys],
        )
        for name, (title, keys, overrides) in _rivals.items()
    },
)
