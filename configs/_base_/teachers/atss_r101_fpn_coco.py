# Teacher: MMDetection's ATSS R-101 FPN, 1x, published as 41.5 box AP: the only R-101 of its model
# zoo with weights.
teacher = dict(
    config='mmdet::atss/atss_r101_fpn_1x_coco.py',
    checkpoint='https://download.openmmlab.com/mmdetection/v2.0/atss/'
    'atss_r101_fpn_1x_coco/'
    'atss_r101_fpn_1x_20200825-dfcadd6f.pth',
)
