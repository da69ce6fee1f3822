# WKD-L + WKD-F, Mask R-CNN R-101 to Mask R-CNN R-50 with FPN, COCO, 1x (12 epochs).
#
# Method:   WKD-L + WKD-F: Wasserstein distances on RoI logits and RoI features
# Pair:     Mask R-CNN R-101 FPN (3x, 42.7 box AP published by MMDetection) to Mask R-CNN R-50
# Needs:    COCO 2017 in data/coco; the weights of the teacher and of the backbone are downloaded
# Command:  bash tools/dist_train.sh \
#     configs/detection/wkd/wkd-lf_mask-rcnn_r101-to-mask-rcnn_r50_fpn_1x_coco.py 8
# Expected: not yet run
_base_ = [
    'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py',
    '../../_base_/teachers/mask-rcnn_r101_fpn_coco.py',
    '../../_base_/distill/wkd_l.py',
    '../../_base_/distill/wkd_f.py',
]
custom_imports = dict(imports=['wkd_det'], allow_failed_imports=False)
default_hooks = dict(checkpoint=dict(type='ExactCheckpointHook'))

model = dict(
    type='DistilledMaskRCNN',
    teacher=_base_.pop('teacher'),
    distill=dict(loss_wkd_l=_base_.pop('loss_wkd_l'), loss_wkd_f=_base_.pop('loss_wkd_f')),
)
