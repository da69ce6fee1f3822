# FCFD with WKD, Faster R-CNN with FPN, COCO, 180k iterations.
#
# Method:   FCFD with WKD-L and WKD-F in place of its own terms
# Pair:     Faster R-CNN R-101 FPN (3x, 41.8 box AP published by MMDetection) to R-50
# Needs:    COCO 2017 in data/coco; the weights of the teacher and of the backbone are downloaded
# Command:  bash tools/dist_train.sh \
#     configs/detection/fcfd-wkd/fcfd-wkd_faster-rcnn_r101-to-faster-rcnn_r50_fpn_180k_coco.py 4
# Expected: not yet run
_base_ = [
    '../baseline/faster-rcnn_r50_fpn_180k_coco.py',
    '../../_base_/teachers/faster-rcnn_r101_fpn_coco.py',
    '../../_base_/distill/fcfd_wkd.py',
]
custom_imports = dict(imports=['wkd_det'], allow_failed_imports=False)
default_hooks = dict(checkpoint=dict(type='ExactCheckpointHook'))

model = dict(
    type='DistilledFasterRCNN',
    teacher=_base_.pop('teacher'),
    distill=_base_.pop('fcfd_wkd'),
)
