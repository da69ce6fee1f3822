# 100 training images a class of CIFAR-100, wrn_16_4 to wrn_10_2. The teacher has seen 450 of each:
# part of what the students gain is what it knows of the others.
#
# Command: python tools/compare.py studies/cifar100_few.py
# Needs:   data/cifar100
_base_ = '_base_/cifar100_equal.py'

title = 'CIFAR-100, 100 images a class, 18 epochs'
seeds = [1, 2, 3, 4, 5]
length = 18
overrides = {'train_dataloader.dataset.per_class': 100}
search = dict(length=6, check=dict(factors=2))
records = 'studies/results/cifar100_few'
methods = dict(plain_equal=dict(length=54))
prepare = [
    dict(
        _base_.prepare[0],
        overrides={
            'train_dataloader.dataset.augmentations': None,
            'train_dataloader.dataset.per_class': None,
        },
    ),
    _base_.prepare[1],
]
