# Plain Faster R-CNN R-18 with FPN, COCO, 180k iterations: a baseline of the distilled ones.
#
# Method:   plain training, no teacher
# Pair:     none; R-18
# Needs:    COCO 2017 in data/coco; the weights of the backbone are downloaded
# Command:  bash tools/dist_train.sh \
#     configs/detection/baseline/faster-rcnn_r18_fpn_180k_coco.py 4
# Expected: not yet run
_base_ = ['faster-rcnn_r50_fpn_180k_coco.py', '../../_base_/students/r18.py']

model = _base_.pop('student')
