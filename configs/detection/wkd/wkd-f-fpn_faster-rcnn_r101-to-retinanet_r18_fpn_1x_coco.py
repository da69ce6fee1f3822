# WKD-F on the FPN, Faster R-CNN R-101 to RetinaNet R-18 with FPN, COCO, 1x (12 epochs).
#
# Method:   WKD-F: Gaussian Wasserstein distance on FPN level P3
# Pair:     Faster R-CNN R-101 FPN (3x, 41.8 box AP published by MMDetection) to RetinaNet R-18
# Needs:    COCO 2017 in data/coco; the weights of the teacher and of the backbone are downloaded
# Command:  bash tools/dist_train.sh \
#     configs/detection/wkd/wkd-f-fpn_faster-rcnn_r101-to-retinanet_r18_fpn_1x_coco.py 8
# Expected: not yet run
_base_ = [
    'mmdet::retinanet/retinanet_r18_fpn_1x_coco.py',
    '../../_base_/teachers/faster-rcnn_r101_fpn_coco.py',
    '../../_base_/distill/wkd_f_fpn_p3_of_two.py',
]
custom_imports = dict(imports=['wkd_det'], allow_failed_imports=False)
default_hooks = dict(checkpoint=dict(type='ExactCheckpointHook'))

model = dict(
    type='DistilledRetinaNet',
    teacher=_base_.pop('teacher'),
    distill=dict(loss_wkd_f_fpn=_base_.pop('loss_wkd_f_fpn')),
)
