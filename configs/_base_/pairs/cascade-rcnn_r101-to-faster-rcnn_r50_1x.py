# Cascade R-CNN R-101 to Faster R-CNN R-50 with FPN, COCO, 1x (12 epochs).
#
# Teacher:  first stage of Cascade R-CNN R-101 FPN (20 epochs, 42.5 box AP published by MMDetection)
# Student:  Faster R-CNN R-50
# Kind:     from-cascade
# Needs:    COCO 2017 in data/coco; the weights of the teacher and of the backbone are downloaded
# Command:  bash tools/dist_train.sh configs/detection/METHOD_cascade-rcnn_r101-to-faster-rcnn_r50_1x.py 8
_base_ = [
    'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
    '../teachers/cascade-rcnn_r101.py',
]
custom_imports = dict(imports=['wkd_det'], allow_failed_imports=False)
default_hooks = dict(checkpoint=dict(type='ExactCheckpointHook'))

model = dict(type='DistilledFasterRCNN', teacher=_base_.pop('teacher'))

# The teacher's first stage has been trained on proposals, at the IoU threshold (0.5) that the
# student is trained at; the later ones expect refined boxes.
__first = dict(teacher_stage=0)
settings = {
    'kd': dict(loss_kd=__first),
    'dkd': dict(loss_dkd=__first),
    'dkd-reviewkd': dict(loss_dkd=__first),
    'wkd-l': dict(loss_wkd_l=__first),
    'wkd-f': dict(loss_wkd_f=__first),
    'wkd-lf': dict(loss_wkd_l=__first, loss_wkd_f=__first),
    'reviewkd-wkd': dict(loss_wkd_l=__first, loss_wkd_f=__first),
}
