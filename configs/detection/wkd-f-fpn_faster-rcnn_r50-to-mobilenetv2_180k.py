# WKD-F on the FPN, Faster R-CNN R-50 to MobileNetV2 with FPN, COCO, 180k iterations.
#
# Method:   WKD-F on the FPN: Gaussian Wasserstein distance on one level
# Pair:     Faster R-CNN R-50 FPN (3x, 40.3 box AP published by MMDetection) to MobileNetV2
# Needs:    COCO 2017 in data/coco; the weights of the teacher and of the backbone are downloaded
# Command:  bash tools/dist_train.sh \
#     configs/detection/wkd-f-fpn_faster-rcnn_r50-to-mobilenetv2_180k.py 4
# Expected: not yet run
_base_ = [
    '../_base_/pairs/faster-rcnn_r50-to-mobilenetv2_180k.py',
    '../_base_/distill/wkd-f-fpn.py',
]

model = dict(distill=_base_.pop('distill') | _base_.pop('settings').get('wkd-f-fpn', {}))
