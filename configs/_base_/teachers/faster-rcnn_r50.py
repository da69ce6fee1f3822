# Teacher: MMDetection's Faster R-CNN R-50 FPN, 3x multi-scale, published as 40.3 box AP: the
# best plain R-50 FPN of its model zoo trained on COCO alone from ImageNet weights (1x 37.4,
# 2x 38.4), and the counterpart of the detectron2 3x detector of the paper.
teacher = dict(
    config='mmdet::faster_rcnn/faster-rcnn_r50_fpn_ms-3x_coco.py',
    checkpoint='https://download.openmmlab.com/mmdetection/v2.0/faster_rcnn/'
    'faster_rcnn_r50_fpn_mstrain_3x_coco/'
    'faster_rcnn_r50_fpn_mstrain_3x_coco_20210524_110822-e10bd31c.pth',
)
