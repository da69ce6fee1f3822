# wrn_16_4 to wrn_10_2, both behind a stem of stride 2, 12 epochs of CIFAR-100 on a CPU.
#
# Teacher:  wrn_16_4
# Student:  wrn_10_2
# Kind:     cnn
# Needs:    data/cifar100 (cifar-100-python.tar.gz unpacked there, or cifar100.npz);
#           the trained teacher (configs/classification/cifar100/baseline/wrn_16_4_short.py)
# Command:  python tools/train.py configs/classification/cifar100/METHOD_wrn_16_4-to-wrn_10_2_short.py
_base_ = [
    '../../classification/cifar100/baseline/wrn_10_2_short.py',
    '../teachers/cifar100_wrn_16_4_short.py',
]
_base_.pop('work_dir')  # the plain student's: each config has a folder of its own name

model = dict(type='DistilledClassifier', image_size=32, teacher=_base_.pop('teacher'))

# Maps of equal sizes: 16, 8 and 4 pixels. A wide network's stages end before the normalisation;
# WKD-F compares what is pooled, behind it.
__map = dict(
    tap='pooled_map',
    connector=dict(type='ConvConnector', act_cfg=dict(type='ReLU')),
    loss=dict(grid=1, mean_cov_ratio=4.0, loss_weight=0.08),
)
settings = {
    'wkd-f': dict(loss_wkd_f=__map),
    'wkd-lf': dict(loss_wkd_f=__map),
    'mgd': dict(loss_mgd=dict(connector=dict(type='ConvConnector', norm_cfg=None))),
    'fsp': dict(loss_fsp=dict(connector=dict(type='ConvConnector'))),
    # A half of its authors' width, and a quarter of the negatives: on a CPU they cost more than all else.
    'reviewkd': dict(loss_reviewkd=dict(connector=dict(mid_channels=64))),
    'crd': dict(loss_crd=dict(loss=dict(num_samples=45000, negatives=4096))),
}
