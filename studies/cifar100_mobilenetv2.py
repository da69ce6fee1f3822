# All training images of CIFAR-100, a student of another kind: wrn_16_4 to MobileNetV2.
#
# Command: python tools/compare.py studies/cifar100_mobilenetv2.py
# Needs:   data/cifar100
_base_ = '_base_/cifar100_equal.py'

title = 'CIFAR-100, wrn_16_4 to MobileNetV2, 4 epochs'
seeds = [1, 2, 3, 4, 5]
length = 4
# Half of a search is warm-up, so what it prefers at two epochs is tried at four.
search = dict(length=2, check=dict(factors=2))
records = 'studies/results/cifar100_mobilenetv2'

_configs = 'configs/classification/cifar100'
methods = {
    'plain': dict(config=f'{_configs}/baseline/mobilenetv2_short.py'),
    'plain_equal': dict(config=f'{_configs}/baseline/mobilenetv2_short.py', length=12),
    **{
        name: dict(config=f'{_configs}/{config}_wrn_16_4-to-mobilenetv2_short.py')
        for name, config in dict(kd='kd', wkd_l='wkd-l', wkd_f='wkd-f', wkd_lf='wkd-lf').items()
    },
    'fitnet': dict(
        config=f'{_configs}/fitnet_wrn_16_4-to-mobilenetv2_short.py',
        overrides={
            'model.distill.loss_fitnet.tap': 'blocks.6',
            'model.distill.loss_fitnet.teacher_tap': 'pool:input',
        },
    ),
}
