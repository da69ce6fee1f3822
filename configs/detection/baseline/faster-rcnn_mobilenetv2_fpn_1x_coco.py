# Plain Faster R-CNN MobileNetV2 with FPN, COCO, 1x (12 epochs): a baseline of the distilled ones.
#
# Method:   plain training, no teacher
# Pair:     none; MobileNetV2
# Needs:    COCO 2017 in data/coco; the weights of the backbone are downloaded
# Command:  bash tools/dist_train.sh \
#     configs/detection/baseline/faster-rcnn_mobilenetv2_fpn_1x_coco.py 8
# Expected: not yet run
_base_ = [
    'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
    '../../_base_/students/mobilenetv2.py',
]

model = _base_.pop('student')
