# FitNet, wrn_16_4 to wrn_10_2, both behind a stem of stride 2, 12 epochs of CIFAR-100 on a CPU.
#
# Method:   FitNet: squared distance of a middle feature map
# Pair:     wrn_16_4 to wrn_10_2
# Needs:    data/cifar100 (cifar-100-python.tar.gz unpacked there, or cifar100.npz); the trained
#           teacher (configs/classification/cifar100/baseline/wrn_16_4_short.py)
# Command:  python tools/train.py \
#     configs/classification/cifar100/fitnet_wrn_16_4-to-wrn_10_2_short.py
# Expected: not yet run at this length; at 6 epochs, its weight searched, in docs/results.md
_base_ = [
    '../../_base_/pairs/cifar100_wrn_16_4-to-wrn_10_2_short.py',
    '../../_base_/distill/classification/fitnet.py',
]

model = dict(distill=_base_.pop('distill') | _base_.pop('settings').get('fitnet', {}))
