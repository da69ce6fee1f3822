# WKD-F on the FPN, Faster R-CNN with FPN, COCO, 1x (12 epochs).
#
# Method:   WKD-F on the FPN: Gaussian Wasserstein distance on one level
# Pair:     Faster R-CNN R-101 FPN (3x, 41.8 box AP published by MMDetection) to R-18
# Needs:    COCO 2017 in data/coco; the weights of the teacher and of the backbone are downloaded
# Command:  bash tools/dist_train.sh configs/detection/wkd-f-fpn_faster-rcnn_r101-to-r18_1x.py 8
# Expected: not yet run
_base_ = ['../_base_/pairs/faster-rcnn_r101-to-r18_1x.py', '../_base_/distill/wkd-f-fpn.py']

model = dict(distill=_base_.pop('distill'))
