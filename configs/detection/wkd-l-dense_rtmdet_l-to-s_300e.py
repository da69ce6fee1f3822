# WKD-L-dense, RTMDet-l to RTMDet-s, COCO, 300 epochs.
#
# Method:   WKD-L-dense: WKD-L for heads with a sigmoid for each class, background as a bin
# Pair:     RTMDet-l (300 epochs, 51.3 box AP published by MMDetection) to RTMDet-s
# Needs:    COCO 2017 in data/coco; the weights of the teacher and of the backbone are downloaded
# Command:  bash tools/dist_train.sh configs/detection/wkd-l-dense_rtmdet_l-to-s_300e.py 8
# Expected: not yet run
_base_ = ['../_base_/pairs/rtmdet_l-to-s_300e.py', '../_base_/distill/wkd-l-dense.py']

model = dict(distill=_base_.pop('distill') | _base_.pop('settings').get('wkd-l-dense', {}))
