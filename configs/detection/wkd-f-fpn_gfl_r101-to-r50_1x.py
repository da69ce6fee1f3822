# WKD-F on the FPN, GFL R-101 to GFL R-50 with FPN, COCO, 1x (12 epochs).
#
# Method:   WKD-F on the FPN: Gaussian Wasserstein distance on one level
# Pair:     GFL R-101 FPN (2x, 44.7 box AP published by MMDetection) to GFL R-50
# Needs:    COCO 2017 in data/coco; the weights of the teacher and of the backbone are downloaded
# Command:  bash tools/dist_train.sh configs/detection/wkd-f-fpn_gfl_r101-to-r50_1x.py 8
# Expected: not yet run
_base_ = ['../_base_/pairs/gfl_r101-to-r50_1x.py', '../_base_/distill/wkd-f-fpn.py']

model = dict(distill=_base_.pop('distill') | _base_.pop('settings').get('wkd-f-fpn', {}))
