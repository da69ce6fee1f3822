# WKD-F on the FPN, RetinaNet R-101 to RetinaNet R-18 with FPN, COCO, 1x (12 epochs).
#
# Method:   WKD-F on the FPN: Gaussian Wasserstein distance on one level
# Pair:     RetinaNet R-101 FPN (3x, 41.0 box AP published by MMDetection) to RetinaNet R-18
# Needs:    COCO 2017 in data/coco; the weights of the teacher and of the backbone are downloaded
# Command:  bash tools/dist_train.sh configs/detection/wkd-f-fpn_retinanet_r101-to-r18_1x.py 8
# Expected: not yet run
_base_ = ['../_base_/pairs/retinanet_r101-to-r18_1x.py', '../_base_/distill/wkd-f-fpn.py']

model = dict(distill=_base_.pop('distill') | _base_.pop('settings').get('wkd-f-fpn', {}))
