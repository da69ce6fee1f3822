# Faster R-CNN R-101 to RetinaNet R-18 with FPN, COCO, 1x (12 epochs).
#
# Teacher:  Faster R-CNN R-101 FPN (3x, 41.8 box AP published by MMDetection)
# Student:  RetinaNet R-18
# Kind:     to-one-stage
# Needs:    COCO 2017 in data/coco; the weights of the teacher and of the backbone are downloaded
# Command:  bash tools/dist_train.sh configs/detection/METHOD_faster-rcnn_r101-to-retinanet_r18_1x.py 8
_base_ = [
    'mmdet::retinanet/retinanet_r18_fpn_1x_coco.py',
    '../teachers/faster-rcnn_r101.py',
]
custom_imports = dict(imports=['wkd_det'], allow_failed_imports=False)
default_hooks = dict(checkpoint=dict(type='ExactCheckpointHook'))

model = dict(type='DistilledRetinaNet', teacher=_base_.pop('teacher'))

# P3 is level 1 of the teacher (P2 ... P6) and level 0 of the student (P3 ... P7).
__common = dict(levels=[0, 1, 2, 3], teacher_levels=[1, 2, 3, 4])
settings = {
    'fitnet': dict(loss_fitnet=__common),
    'ickd': dict(loss_ickd=__common),
    'nst': dict(loss_nst=__common),
    'pkd': dict(loss_pkd=__common),
    'wkd-f-fpn': dict(loss_wkd_f_fpn=dict(levels=[0], teacher_levels=[1])),
}
