# WKD-L + WKD-F, Cascade R-CNN R-101 to Cascade R-CNN R-50 with FPN, COCO, 1x (12 epochs).
#
# Method:   WKD-L + WKD-F: Wasserstein distances on RoI logits and RoI features
# Pair:     Cascade R-CNN R-101 FPN (20 epochs, 42.5 box AP published by MMDetection) to Cascade
#     R-CNN R-50
# Needs:    COCO 2017 in data/coco; the weights of the teacher and of the backbone are downloaded
# Command:  bash tools/dist_train.sh \
#     configs/detection/wkd/wkd-lf_cascade-rcnn_r101-to-cascade-rcnn_r50_fpn_1x_coco.py 8
# Expected: not yet run
_base_ = [
    'mmdet::cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py',
    '../../_base_/teachers/cascade-rcnn_r101_fpn_coco.py',
    '../../_base_/distill/wkd_l_cascade.py',
    '../../_base_/distill/wkd_f_cascade.py',
]
custom_imports = dict(imports=['wkd_det'], allow_failed_imports=False)
default_hooks = dict(checkpoint=dict(type='ExactCheckpointHook'))

model = dict(
    type='DistilledCascadeRCNN',
    teacher=_base_.pop('teacher'),
    distill=dict(loss_wkd_l=_base_.pop('loss_wkd_l'), loss_wkd_f=_base_.pop('loss_wkd_f')),
)
