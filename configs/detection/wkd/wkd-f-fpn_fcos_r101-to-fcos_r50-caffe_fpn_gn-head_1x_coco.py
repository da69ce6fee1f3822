# WKD-F on the FPN, FCOS R-101 to FCOS R-50 with FPN, COCO, 1x (12 epochs).
#
# Method:   WKD-F: Gaussian Wasserstein distance on FPN level P3
# Pair:     FCOS R-101 FPN (2x, 40.8 box AP published by MMDetection) to FCOS R-50
# Needs:    COCO 2017 in data/coco; the weights of the teacher and of the backbone are downloaded
# Command:  bash tools/dist_train.sh \
#     configs/detection/wkd/wkd-f-fpn_fcos_r101-to-fcos_r50-caffe_fpn_gn-head_1x_coco.py 8
# Expected: not yet run
_base_ = [
    'mmdet::fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py',
    '../../_base_/teachers/fcos_r101_fpn_coco.py',
    '../../_base_/distill/wkd_f_fpn_from_p3.py',
]
custom_imports = dict(imports=['wkd_det'], allow_failed_imports=False)
default_hooks = dict(checkpoint=dict(type='ExactCheckpointHook'))

model = dict(
    type='DistilledFCOS',
    teacher=_base_.pop('teacher'),
    distill=dict(loss_wkd_f_fpn=_base_.pop('loss_wkd_f_fpn')),
)
