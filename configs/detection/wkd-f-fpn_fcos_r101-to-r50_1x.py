# WKD-F on the FPN, FCOS R-101 to FCOS R-50 with FPN, COCO, 1x (12 epochs).
#
# Method:   WKD-F on the FPN: Gaussian Wasserstein distance on one level
# Pair:     FCOS R-101 FPN (2x, 40.8 box AP published by MMDetection) to FCOS R-50
# Needs:    COCO 2017 in data/coco; the weights of the teacher and of the backbone are downloaded
# Command:  bash tools/dist_train.sh configs/detection/wkd-f-fpn_fcos_r101-to-r50_1x.py 8
# Expected: not yet run
_base_ = ['../_base_/pairs/fcos_r101-to-r50_1x.py', '../_base_/distill/wkd-f-fpn.py']

model = dict(distill=_base_.pop('distill') | _base_.pop('settings').get('wkd-f-fpn', {}))
