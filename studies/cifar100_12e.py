# CIFAR-100 as in cifar100.py, 12 epochs in place of 6: does the gain last?
#
# Settings are those that the search of cifar100.py chose.
#
# Command: python tools/compare.py studies/cifar100_12e.py
# Needs:   the search of cifar100.py, data/cifar100
_base_ = '_base_/cifar100_equal.py'

title = 'CIFAR-100, 450 images a class, 12 epochs'
seeds = [1, 2, 3, 4, 5]
length = 12
search = dict(_delete_=True, of='cifar100.py')
records = 'studies/results/cifar100_12e'
methods = dict(plain_equal=dict(length=36))
