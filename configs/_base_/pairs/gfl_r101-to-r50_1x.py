# GFL R-101 to GFL R-50 with FPN, COCO, 1x (12 epochs).
#
# Teacher:  GFL R-101 FPN (2x, 44.7 box AP published by MMDetection)
# Student:  GFL R-50
# Kind:     gfl
# Needs:    COCO 2017 in data/coco; the weights of the teacher and of the backbone are downloaded
# Command:  bash tools/dist_train.sh configs/detection/METHOD_gfl_r101-to-r50_1x.py 8
_base_ = [
    'mmdet::gfl/gfl_r50_fpn_1x_coco.py',
    '../settings/one-stage.py',
]
custom_imports = dict(imports=['wkd_det'], allow_failed_imports=False)
default_hooks = dict(checkpoint=dict(type='ExactCheckpointHook'))

# Teacher: MMDetection's GFL R-101 FPN, 2x multi-scale, published as 44.7 box AP: the best plain
# R-101 of its model zoo (47.1 with deformable convolutions).
model = dict(
    type='DistilledGFL',
    teacher=dict(
        config='mmdet::gfl/gfl_r101_fpn_ms-2x_coco.py',
        checkpoint='https://download.openmmlab.com/mmdetection/v2.0/gfl/'
        'gfl_r101_fpn_mstrain_2x_coco/'
        'gfl_r101_fpn_mstrain_2x_coco_20200629_200126-dd12f847.pth',
    ),
)
