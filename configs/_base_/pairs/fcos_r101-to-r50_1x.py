# FCOS R-101 to FCOS R-50 with FPN, COCO, 1x (12 epochs).
#
# Teacher:  FCOS R-101 FPN (2x, 40.8 box AP published by MMDetection)
# Student:  FCOS R-50
# Kind:     anchor-free
# Needs:    COCO 2017 in data/coco; the weights of the teacher and of the backbone are downloaded
# Command:  bash tools/dist_train.sh configs/detection/METHOD_fcos_r101-to-r50_1x.py 8
_base_ = [
    'mmdet::fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py',
    '../settings/one-stage.py',
]
custom_imports = dict(imports=['wkd_det'], allow_failed_imports=False)
default_hooks = dict(checkpoint=dict(type='ExactCheckpointHook'))

# Teacher: MMDetection's FCOS R-101 FPN (caffe-style, BGR input), 2x multi-scale, published as 40.8
# box AP: the best plain R-101 of its model zoo.
model = dict(
    type='DistilledFCOS',
    teacher=dict(
        config='mmdet::fcos/fcos_r101-caffe_fpn_gn-head_ms-640-800-2x_coco.py',
        checkpoint='https://download.openmmlab.com/mmdetection/v2.0/fcos/'
        'fcos_r101_caffe_fpn_gn-head_mstrain_640-800_2x_coco/'
        'fcos_r101_caffe_fpn_gn-head_mstrain_640-800_2x_coco-511424d6.pth',
    ),
)
