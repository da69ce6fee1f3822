# WKD-L + WKD-F, Cascade R-CNN R-101 to Cascade R-CNN R-50 with FPN, COCO, 1x (12 epochs).
#
# Method:   WKD-L + WKD-F: Wasserstein distances on RoI logits and RoI features
# Pair:     Cascade R-CNN R-101 FPN (20 epochs, 42.5 box AP published by MMDetection) to Cascade
#           R-CNN R-50
# Needs:    COCO 2017 in data/coco; the weights of the teacher and of the backbone are downloaded
# Command:  bash tools/dist_train.sh configs/detection/wkd-lf_cascade-rcnn_r101-to-r50_1x.py 8
# Expected: not yet run
_base_ = ['../_base_/pairs/cascade-rcnn_r101-to-r50_1x.py', '../_base_/distill/wkd-lf.py']

model = dict(distill=_base_.pop('distill') | _base_.pop('settings').get('wkd-lf', {}))
