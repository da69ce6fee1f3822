# wrn_10_2 behind a stem of stride 2, plain student of the short trainings of CIFAR-100.
#
# Method:   plain training
# Pair:     none
# Needs:    data/cifar100 (cifar-100-python.tar.gz unpacked there, or cifar100.npz)
# Command:  python tools/train.py configs/classification/cifar100/baseline/wrn_10_2_short.py
# Expected: not yet run at this length; at 6 epochs in docs/results.md
_base_ = [
    '../../../_base_/models/classifier_cifar100.py',
    '../../../_base_/datasets/cifar100_short.py',
    '../../../_base_/schedules/cifar100_12e.py',
]

model = dict(
    network=dict(type='WideResNet', depth=10, widen_factor=2, num_classes=100, stem_stride=2),
    channels_last=True,
)
work_dir = 'work_dirs/cifar100/wrn_10_2_short'
