# Mask R-CNN R-101 to Mask R-CNN R-50 with FPN, COCO, 1x (12 epochs).
#
# Teacher:  Mask R-CNN R-101 FPN (3x, 42.7 box AP published by MMDetection)
# Student:  Mask R-CNN R-50
# Kind:     two-stage
# Needs:    COCO 2017 in data/coco; the weights of the teacher and of the backbone are downloaded
# Command:  bash tools/dist_train.sh configs/detection/METHOD_mask-rcnn_r101-to-r50_1x.py 8
_base_ = [
    'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py',
]
custom_imports = dict(imports=['wkd_det'], allow_failed_imports=False)
default_hooks = dict(checkpoint=dict(type='ExactCheckpointHook'))

# Teacher: MMDetection's Mask R-CNN R-101 FPN, 3x multi-scale, published as 42.7 box AP and 38.5
# mask AP: the best plain R-101 of its model zoo that takes RGB input.
model = dict(
    type='DistilledMaskRCNN',
    teacher=dict(
        config='mmdet::mask_rcnn/mask-rcnn_r101_fpn_ms-poly-3x_coco.py',
        checkpoint='https://download.openmmlab.com/mmdetection/v2.0/mask_rcnn/'
        'mask_rcnn_r101_fpn_mstrain-poly_3x_coco/'
        'mask_rcnn_r101_fpn_mstrain-poly_3x_coco_20210524_200244-5675c317.pth',
    ),
)
