# DKD, Faster R-CNN with FPN, COCO, 180k iterations.
#
# Method:   DKD: decoupled divergences of the class logits of the RoIs
# Pair:     Faster R-CNN R-101 FPN (3x, 41.8 box AP published by MMDetection) to R-18
# Needs:    COCO 2017 in data/coco; the weights of the teacher and of the backbone are downloaded
# Command:  bash tools/dist_train.sh configs/detection/dkd_faster-rcnn_r101-to-r18_180k.py 4
# Expected: not yet run
_base_ = ['../_base_/pairs/faster-rcnn_r101-to-r18_180k.py', '../_base_/distill/dkd.py']

model = dict(distill=_base_.pop('distill'))
