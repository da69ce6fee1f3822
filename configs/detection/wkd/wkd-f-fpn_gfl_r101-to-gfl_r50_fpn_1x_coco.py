# WKD-F on the FPN, GFL R-101 to GFL R-50 with FPN, COCO, 1x (12 epochs).
#
# Method:   WKD-F: Gaussian Wasserstein distance on FPN level P3
# Pair:     GFL R-101 FPN (2x, 44.7 box AP published by MMDetection) to GFL R-50
# Needs:    COCO 2017 in data/coco; the weights of the teacher and of the backbone are downloaded
# Command:  bash tools/dist_train.sh \
#     configs/detection/wkd/wkd-f-fpn_gfl_r101-to-gfl_r50_fpn_1x_coco.py 8
# Expected: not yet run
_base_ = [
    'mmdet::gfl/gfl_r50_fpn_1x_coco.py',
    '../../_base_/teachers/gfl_r101_fpn_coco.py',
    '../../_base_/distill/wkd_f_fpn_from_p3.py',
]
custom_imports = dict(imports=['wkd_det'], allow_failed_imports=False)
default_hooks = dict(checkpoint=dict(type='ExactCheckpointHook'))

model = dict(
    type='DistilledGFL',
    teacher=_base_.pop('teacher'),
    distill=dict(loss_wkd_f_fpn=_base_.pop('loss_wkd_f_fpn')),
)
