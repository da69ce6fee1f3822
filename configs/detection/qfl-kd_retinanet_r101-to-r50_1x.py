# QFL-KD, RetinaNet R-101 to RetinaNet R-50 with FPN, COCO, 1x (12 epochs).
#
# Method:   QFL-KD: the classification loss of CrossKD and BCKD on the student's own head
# Pair:     RetinaNet R-101 FPN (3x, 41.0 box AP published by MMDetection) to RetinaNet R-50
# Needs:    COCO 2017 in data/coco; the weights of the teacher and of the backbone are downloaded
# Command:  bash tools/dist_train.sh configs/detection/qfl-kd_retinanet_r101-to-r50_1x.py 8
# Expected: not yet run
_base_ = ['../_base_/pairs/retinanet_r101-to-r50_1x.py', '../_base_/distill/qfl-kd.py']

model = dict(distill=_base_.pop('distill') | _base_.pop('settings').get('qfl-kd', {}))
