# Teacher: MMDetection's Faster R-CNN R-101 FPN, 3x multi-scale, published as 41.8 box AP: the
# best plain R-101 FPN of its model zoo that shares the students' normalisation (1x 39.4,
# 2x 39.8; the caffe-style 3x has 42.0 and takes BGR input), and the counterpart of the
# detectron2 3x detector of the paper.
teacher = dict(
    config='mmdet::faster_rcnn/faster-rcnn_r101_fpn_ms-3x_coco.py',
    checkpoint='https://download.openmmlab.com/mmdetection/v2.0/faster_rcnn/'
    'faster_rcnn_r101_fpn_mstrain_3x_coco/'
    'faster_rcnn_r101_fpn_mstrain_3x_coco_20210524_110822-4d4d2ca8.pth',
)
