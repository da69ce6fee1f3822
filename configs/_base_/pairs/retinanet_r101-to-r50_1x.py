# RetinaNet R-101 to RetinaNet R-50 with FPN, COCO, 1x (12 epochs).
#
# Teacher:  RetinaNet R-101 FPN (3x, 41.0 box AP published by MMDetection)
# Student:  RetinaNet R-50
# Kind:     one-stage
# Needs:    COCO 2017 in data/coco; the weights of the teacher and of the backbone are downloaded
# Command:  bash tools/dist_train.sh configs/detection/METHOD_retinanet_r101-to-r50_1x.py 8
_base_ = [
    'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py',
    '../settings/one-stage.py',
]
custom_imports = dict(imports=['wkd_det'], allow_failed_imports=False)
default_hooks = dict(checkpoint=dict(type='ExactCheckpointHook'))

# Teacher: MMDetection's RetinaNet R-101 FPN, 3x multi-scale, published as 41.0 box AP: the best
# plain R-101 of its model zoo.
model = dict(
    type='DistilledRetinaNet',
    teacher=dict(
        config='mmdet::retinanet/retinanet_r101_fpn_ms-640-800-3x_coco.py',
        checkpoint='https://download.openmmlab.com/mmdetection/v2.0/retinanet/'
        'retinanet_r101_fpn_mstrain_3x_coco/'
        'retinanet_r101_fpn_mstrain_3x_coco_20210720_214650-7ee888e0.pth',
    ),
)
