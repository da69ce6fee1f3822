# WKD-F on the FPN, ATSS R-101 to ATSS R-50 with FPN, COCO, 1x (12 epochs).
#
# Method:   WKD-F: Gaussian Wasserstein distance on FPN level P3
# Pair:     ATSS R-101 FPN (1x, 41.5 box AP published by MMDetection) to ATSS R-50
# Needs:    COCO 2017 in data/coco; the weights of the teacher and of the backbone are downloaded
# Command:  bash tools/dist_train.sh \
#     configs/detection/wkd/wkd-f-fpn_atss_r101-to-atss_r50_fpn_1x_coco.py 8
# Expected: not yet run
_base_ = [
    'mmdet::atss/atss_r50_fpn_1x_coco.py',
    '../../_base_/teachers/atss_r101_fpn_coco.py',
    '../../_base_/distill/wkd_f_fpn_from_p3.py',
]
custom_imports = dict(imports=['wkd_det'], allow_failed_imports=False)
default_hooks = dict(checkpoint=dict(type='ExactCheckpointHook'))

model = dict(
    type='DistilledATSS',
    teacher=_base_.pop('teacher'),
    distill=dict(loss_wkd_f_fpn=_base_.pop('loss_wkd_f_fpn')),
)
