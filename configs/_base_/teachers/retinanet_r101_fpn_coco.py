# Teacher: MMDetection's RetinaNet R-101 FPN, 3x multi-scale, published as 41.0 box AP: the best
# plain R-101 of its model zoo.
teacher = dict(
    config='mmdet::retinanet/retinanet_r101_fpn_ms-640-800-3x_coco.py',
    checkpoint='https://download.openmmlab.com/mmdetection/v2.0/retinanet/'
    'retinanet_r101_fpn_mstrain_3x_coco/'
    'retinanet_r101_fpn_mstrain_3x_coco_20210720_214650-7ee888e0.pth',
)
