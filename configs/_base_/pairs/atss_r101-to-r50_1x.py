# ATSS R-101 to ATSS R-50 with FPN, COCO, 1x (12 epochs).
#
# Teacher:  ATSS R-101 FPN (1x, 41.5 box AP published by MMDetection)
# Student:  ATSS R-50
# Kind:     one-stage
# Needs:    COCO 2017 in data/coco; the weights of the teacher and of the backbone are downloaded
# Command:  bash tools/dist_train.sh configs/detection/METHOD_atss_r101-to-r50_1x.py 8
_base_ = [
    'mmdet::atss/atss_r50_fpn_1x_coco.py',
    '../settings/one-stage.py',
]
custom_imports = dict(imports=['wkd_det'], allow_failed_imports=False)
default_hooks = dict(checkpoint=dict(type='ExactCheckpointHook'))

# Teacher: MMDetection's ATSS R-101 FPN, 1x, published as 41.5 box AP: the only R-101 of its model
# zoo with weights.
model = dict(
    type='DistilledATSS',
    teacher=dict(
        config='mmdet::atss/atss_r101_fpn_1x_coco.py',
        checkpoint='https://download.openmmlab.com/mmdetection/v2.0/atss/'
        'atss_r101_fpn_1x_coco/'
        'atss_r101_fpn_1x_20200825-dfcadd6f.pth',
    ),
)
