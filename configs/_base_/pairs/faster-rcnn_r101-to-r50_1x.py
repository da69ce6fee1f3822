# Faster R-CNN with FPN, COCO, 1x (12 epochs).
#
# Teacher:  Faster R-CNN R-101 FPN (3x, 41.8 box AP published by MMDetection)
# Student:  R-50
# Kind:     two-stage
# Needs:    COCO 2017 in data/coco; the weights of the teacher and of the backbone are downloaded
# Command:  bash tools/dist_train.sh configs/detection/METHOD_faster-rcnn_r101-to-r50_1x.py 8
_base_ = [
    'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
    '../teachers/faster-rcnn_r101.py',
    '../settings/faster-rcnn_r101-to-r50.py',
]
custom_imports = dict(imports=['wkd_det'], allow_failed_imports=False)
default_hooks = dict(checkpoint=dict(type='ExactCheckpointHook'))

model = dict(type='DistilledFasterRCNN', teacher=_base_.pop('teacher'))
