# ReviewKD, Faster R-CNN with FPN, COCO, 1x (12 epochs).
#
# Method:   ReviewKD: the fused pyramid at several resolutions
# Pair:     Faster R-CNN R-101 FPN (3x, 41.8 box AP published by MMDetection) to R-50
# Needs:    COCO 2017 in data/coco; the weights of the teacher and of the backbone are downloaded
# Command:  bash tools/dist_train.sh \
#     configs/detection/reviewkd/reviewkd_faster-rcnn_r101-to-faster-rcnn_r50_fpn_1x_coco.py 8
# Expected: not yet run
_base_ = [
    'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
    '../../_base_/teachers/faster-rcnn_r101_fpn_coco.py',
    '../../_base_/distill/reviewkd_r50.py',
]
custom_imports = dict(imports=['wkd_det'], allow_failed_imports=False)
default_hooks = dict(checkpoint=dict(type='ExactCheckpointHook'))

model = dict(
    type='DistilledFasterRCNN',
    teacher=_base_.pop('teacher'),
    distill=dict(loss_reviewkd=_base_.pop('loss_reviewkd')),
)
