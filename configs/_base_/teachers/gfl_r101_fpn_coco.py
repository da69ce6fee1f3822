# Teacher: MMDetection's GFL R-101 FPN, 2x multi-scale, published as 44.7 box AP: the best plain
# R-101 of its model zoo (47.1 with deformable convolutions).
teacher = dict(
    config='mmdet::gfl/gfl_r101_fpn_ms-2x_coco.py',
    checkpoint='https://download.openmmlab.com/mmdetection/v2.0/gfl/'
    'gfl_r101_fpn_mstrain_2x_coco/'
    'gfl_r101_fpn_mstrain_2x_coco_20200629_200126-dd12f847.pth',
)
