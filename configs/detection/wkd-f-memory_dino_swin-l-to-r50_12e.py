# WKD-F-memory, DINO Swin-L to DINO R-50, COCO, 12 epochs.
#
# Method:   WKD-F-memory: Gaussian Wasserstein distance on the memory of the encoder
# Pair:     DINO Swin-L (5 scales, 36 epochs, 58.4 box AP published by MMDetection) to DINO R-50 (4
#           scales, 12 epochs)
# Needs:    COCO 2017 in data/coco; the weights of the teacher and of the backbone are downloaded
# Command:  bash tools/dist_train.sh configs/detection/wkd-f-memory_dino_swin-l-to-r50_12e.py 8
# Expected: not yet run
_base_ = ['../_base_/pairs/dino_swin-l-to-r50_12e.py', '../_base_/distill/wkd-f-memory.py']

model = dict(distill=_base_.pop('distill') | _base_.pop('settings').get('wkd-f-memory', {}))
