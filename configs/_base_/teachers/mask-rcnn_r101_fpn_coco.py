# Teacher: MMDetection's Mask R-CNN R-101 FPN, 3x multi-scale, published as 42.7 box AP and 38.5
# mask AP: the best plain R-101 of its model zoo that takes RGB input.
teacher = dict(
    config='mmdet::mask_rcnn/mask-rcnn_r101_fpn_ms-poly-3x_coco.py',
    checkpoint='https://download.openmmlab.com/mmdetection/v2.0/mask_rcnn/'
    'mask_rcnn_r101_fpn_mstrain-poly_3x_coco/'
    'mask_rcnn_r101_fpn_mstrain-poly_3x_coco_20210524_200244-5675c317.pth',
)
