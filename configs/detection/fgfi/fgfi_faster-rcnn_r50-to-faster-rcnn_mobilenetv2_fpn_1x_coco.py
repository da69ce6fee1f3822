# FGFI, Faster R-CNN R-50 to MobileNetV2 with FPN, COCO, 1x (12 epochs).
#
# Method:   FGFI: imitation of FPN maps near objects
# Pair:     Faster R-CNN R-50 FPN (3x, 40.3 box AP published by MMDetection) to MobileNetV2
# Needs:    COCO 2017 in data/coco; the weights of the teacher and of the backbone are downloaded
# Command:  bash tools/dist_train.sh \
#     configs/detection/fgfi/fgfi_faster-rcnn_r50-to-faster-rcnn_mobilenetv2_fpn_1x_coco.py 8
# Expected: not yet run
_base_ = [
    '../baseline/faster-rcnn_mobilenetv2_fpn_1x_coco.py',
    '../../_base_/teachers/faster-rcnn_r50_fpn_coco.py',
    '../../_base_/distill/fgfi.py',
]
custom_imports = dict(imports=['wkd_det'], allow_failed_imports=False)
default_hooks = dict(checkpoint=dict(type='ExactCheckpointHook'))

model = dict(
    type='DistilledFasterRCNN',
    teacher=_base_.pop('teacher'),
    distill=dict(loss_fgfi=_base_.pop('loss_fgfi')),
)
