# WKD-F on the FPN, ATSS R-101 to ATSS R-50 with FPN, COCO, 1x (12 epochs).
#
# Method:   WKD-F on the FPN: Gaussian Wasserstein distance on one level
# Pair:     ATSS R-101 FPN (1x, 41.5 box AP published by MMDetection) to ATSS R-50
# Needs:    COCO 2017 in data/coco; the weights of the teacher and of the backbone are downloaded
# Command:  bash tools/dist_train.sh configs/detection/wkd-f-fpn_atss_r101-to-r50_1x.py 8
# Expected: not yet run
_base_ = ['../_base_/pairs/atss_r101-to-r50_1x.py', '../_base_/distill/wkd-f-fpn.py']

model = dict(distill=_base_.pop('distill') | _base_.pop('settings').get('wkd-f-fpn', {}))
