# Faster R-CNN R-50 to MobileNetV2 with FPN, COCO, 180k iterations.
#
# Teacher:  Faster R-CNN R-50 FPN (3x, 40.3 box AP published by MMDetection)
# Student:  MobileNetV2
# Kind:     two-stage
# Needs:    COCO 2017 in data/coco; the weights of the teacher and of the backbone are downloaded
# Command:  bash tools/dist_train.sh configs/detection/METHOD_faster-rcnn_r50-to-mobilenetv2_180k.py 4
_base_ = [
    '../../detection/baseline/faster-rcnn_mobilenetv2_fpn_180k_coco.py',
    '../teachers/faster-rcnn_r50.py',
    '../settings/faster-rcnn_r50-to-mobilenetv2.py',
]
custom_imports = dict(imports=['wkd_det'], allow_failed_imports=False)
default_hooks = dict(checkpoint=dict(type='ExactCheckpointHook'))

model = dict(type='DistilledFasterRCNN', teacher=_base_.pop('teacher'))
