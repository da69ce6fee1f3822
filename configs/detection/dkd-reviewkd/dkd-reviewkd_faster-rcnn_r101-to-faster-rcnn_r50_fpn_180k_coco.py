# DKD + ReviewKD, Faster R-CNN with FPN, COCO, 180k iterations.
#
# Method:   DKD on RoI logits and ReviewKD on the pyramid
# Pair:     Faster R-CNN R-101 FPN (3x, 41.8 box AP published by MMDetection) to R-50
# Needs:    COCO 2017 in data/coco; the weights of the teacher and of the backbone are downloaded
# Command:  bash tools/dist_train.sh \
#     configs/detection/dkd-reviewkd/dkd-reviewkd_faster-rcnn_r101-to-faster-rcnn_r50_fpn_180k_coco.py 4
# Expected: not yet run
_base_ = [
    '../baseline/faster-rcnn_r50_fpn_180k_coco.py',
    '../../_base_/teachers/faster-rcnn_r101_fpn_coco.py',
    '../../_base_/distill/dkd.py',
    '../../_base_/distill/reviewkd_r50.py',
]
custom_imports = dict(imports=['wkd_det'], allow_failed_imports=False)
default_hooks = dict(checkpoint=dict(type='ExactCheckpointHook'))

model = dict(
    type='DistilledFasterRCNN',
    teacher=_base_.pop('teacher'),
    distill=dict(loss_dkd=_base_.pop('loss_dkd'), loss_reviewkd=_base_.pop('loss_reviewkd')),
)
