# wrn_16_4 behind a stem of stride 2 to MobileNetV2, 12 epochs of CIFAR-100 on a CPU.
#
# Teacher:  wrn_16_4
# Student:  MobileNetV2
# Kind:     cnn
# Needs:    data/cifar100 (cifar-100-python.tar.gz unpacked there, or cifar100.npz);
#           the trained teacher (configs/classification/cifar100/baseline/wrn_16_4_short.py)
# Command:  python tools/train.py configs/classification/cifar100/METHOD_wrn_16_4-to-mobilenetv2_short.py
_base_ = [
    '../../classification/cifar100/baseline/mobilenetv2_short.py',
    '../teachers/cifar100_wrn_16_4_short.py',
]
_base_.pop('work_dir')  # the plain student's: each config has a folder of its own name

# The student has four stages, and the teacher three: those of equal sizes.
__stages = ['blocks.1', 'blocks.2', 'blocks.4']
model = dict(
    type='DistilledClassifier',
    image_size=32,
    teacher=_base_.pop('teacher'),
    places=dict(stages=(__stages, None), stages_before=(__stages, None)),
)

# The last stage before the widening to 1280 channels has 2 x 2 pixels, what the teacher pools 4 x 4.
__map = dict(
    tap='blocks.6',
    teacher_tap='pool:input',
    connector=dict(type='TransposedConvConnector'),
    loss=dict(grid=1, mean_cov_ratio=4.0, loss_weight=0.08),
)
settings = {
    'wkd-f': dict(loss_wkd_f=__map),
    'wkd-lf': dict(loss_wkd_f=__map),
    'mgd': dict(loss_mgd=dict(connector=dict(type='ConvConnector', norm_cfg=None, resize=True))),
    'fsp': dict(loss_fsp=dict(connector=dict(type='ConvConnector', resize=True))),
    'diffkd': dict(loss_diffkd=dict(connector=dict(type='TransposedConvConnector'))),
    'crd': dict(loss_crd=dict(loss=dict(num_samples=45000, negatives=4096))),
}
