# sigmoid KD, RetinaNet R-101 to RetinaNet R-50 with FPN, COCO, 1x (12 epochs).
#
# Method:   sigmoid KD: binary divergence of each class of a dense head
# Pair:     RetinaNet R-101 FPN (3x, 41.0 box AP published by MMDetection) to RetinaNet R-50
# Needs:    COCO 2017 in data/coco; the weights of the teacher and of the backbone are downloaded
# Command:  bash tools/dist_train.sh configs/detection/sigmoid-kd_retinanet_r101-to-r50_1x.py 8
# Expected: not yet run
_base_ = ['../_base_/pairs/retinanet_r101-to-r50_1x.py', '../_base_/distill/sigmoid-kd.py']

model = dict(distill=_base_.pop('distill') | _base_.pop('settings').get('sigmoid-kd', {}))
