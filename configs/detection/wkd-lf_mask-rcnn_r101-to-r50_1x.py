# WKD-L + WKD-F, Mask R-CNN R-101 to Mask R-CNN R-50 with FPN, COCO, 1x (12 epochs).
#
# Method:   WKD-L + WKD-F: Wasserstein distances on RoI logits and RoI features
# Pair:     Mask R-CNN R-101 FPN (3x, 42.7 box AP published by MMDetection) to Mask R-CNN R-50
# Needs:    COCO 2017 in data/coco; the weights of the teacher and of the backbone are downloaded
# Command:  bash tools/dist_train.sh configs/detection/wkd-lf_mask-rcnn_r101-to-r50_1x.py 8
# Expected: not yet run
_base_ = ['../_base_/pairs/mask-rcnn_r101-to-r50_1x.py', '../_base_/distill/wkd-lf.py']

model = dict(distill=_base_.pop('distill'))
