# DINOv2 ViT-B/14 to Faster R-CNN R-50 with FPN, COCO, 1x (12 epochs).
#
# Teacher:  DINOv2 ViT-B/14 with registers, without labels (timm)
# Student:  P4 of Faster R-CNN R-50
# Kind:     from-maps
# Needs:    COCO 2017 in data/coco; timm; the weights of the teacher and of the backbone are
#     downloaded
# Command:  bash tools/dist_train.sh configs/detection/METHOD_dinov2_vit-b14-to-faster-rcnn_r50_1x.py 8
_base_ = [
    'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
    '../teachers/dinov2_vit-b14.py',
]
custom_imports = dict(imports=['wkd_det'], allow_failed_imports=False)
default_hooks = dict(checkpoint=dict(type='ExactCheckpointHook'))

model = dict(type='DistilledFasterRCNN', teacher=_base_.pop('teacher'))

# The one map of the teacher has stride 16: P4, level 2 of P2 ... P6.
__common = dict(levels=[2], teacher_levels=[0])
settings = {
    'fitnet': dict(loss_fitnet=__common),
    'ickd': dict(loss_ickd=__common),
    'wkd-f-fpn': dict(loss_wkd_f_fpn=__common),
}
