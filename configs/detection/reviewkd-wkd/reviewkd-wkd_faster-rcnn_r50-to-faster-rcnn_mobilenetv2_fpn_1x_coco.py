# ReviewKD + WKD-L + WKD-F, Faster R-CNN R-50 to MobileNetV2 with FPN, COCO, 1x (12 epochs).
#
# Method:   ReviewKD on the pyramid, WKD-L and WKD-F on RoIs
# Pair:     Faster R-CNN R-50 FPN (3x, 40.3 box AP published by MMDetection) to MobileNetV2
# Needs:    COCO 2017 in data/coco; the weights of the teacher and of the backbone are downloaded
# Command:  bash tools/dist_train.sh \
#     configs/detection/reviewkd-wkd/reviewkd-wkd_faster-rcnn_r50-to-faster-rcnn_mobilenetv2_fpn_1x_coco.py 8
# Expected: not yet run
_base_ = [
    '../baseline/faster-rcnn_mobilenetv2_fpn_1x_coco.py',
    '../../_base_/teachers/faster-rcnn_r50_fpn_coco.py',
    '../../_base_/distill/reviewkd_mobilenetv2.py',
    '../../_base_/distill/wkd_l_kappa1.py',
    '../../_base_/distill/wkd_f.py',
]
custom_imports = dict(imports=['wkd_det'], allow_failed_imports=False)
default_hooks = dict(checkpoint=dict(type='ExactCheckpointHook'))

model = dict(
    type='DistilledFasterRCNN',
    teacher=_base_.pop('teacher'),
    distill=dict(
        loss_reviewkd=_base_.pop('loss_reviewkd'),
        loss_wkd_l=_base_.pop('loss_wkd_l'),
        loss_wkd_f=_base_.pop('loss_wkd_f'),
    ),
)
