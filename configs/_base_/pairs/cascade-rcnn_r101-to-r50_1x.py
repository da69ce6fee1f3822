# Cascade R-CNN R-101 to Cascade R-CNN R-50 with FPN, COCO, 1x (12 epochs).
#
# Teacher:  Cascade R-CNN R-101 FPN (20 epochs, 42.5 box AP published by MMDetection)
# Student:  Cascade R-CNN R-50
# Kind:     cascade
# Needs:    COCO 2017 in data/coco; the weights of the teacher and of the backbone are downloaded
# Command:  bash tools/dist_train.sh configs/detection/METHOD_cascade-rcnn_r101-to-r50_1x.py 8
_base_ = [
    'mmdet::cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py',
    '../teachers/cascade-rcnn_r101.py',
]
custom_imports = dict(imports=['wkd_det'], allow_failed_imports=False)
default_hooks = dict(checkpoint=dict(type='ExactCheckpointHook'))

model = dict(type='DistilledCascadeRCNN', teacher=_base_.pop('teacher'))

# Logits stage by stage on the student's RoIs of that stage, weighed as MMDetection weighs the losses
# of the stages; features on the RoIs of the first stage (those of a Faster R-CNN), because the maps
# are the same in all stages.
__logits = dict(stage=[0, 1, 2], stage_weights=[1, 0.5, 0.25])
__features = dict(stage=0)
settings = {
    'kd': dict(loss_kd=__logits),
    'dkd': dict(loss_dkd=__logits),
    'dkd-reviewkd': dict(loss_dkd=__logits),
    'wkd-l': dict(loss_wkd_l=__logits),
    'wkd-f': dict(loss_wkd_f=__features),
    'wkd-lf': dict(loss_wkd_l=__logits, loss_wkd_f=__features),
    'reviewkd-wkd': dict(loss_wkd_l=__logits, loss_wkd_f=__features),
}
