# RTMDet-l to RTMDet-s, COCO, 300 epochs.
#
# Teacher:  RTMDet-l (300 epochs, 51.3 box AP published by MMDetection)
# Student:  RTMDet-s
# Kind:     rtmdet
# Needs:    COCO 2017 in data/coco; the weights of the teacher and of the backbone are downloaded
# Command:  bash tools/dist_train.sh configs/detection/METHOD_rtmdet_l-to-s_300e.py 8
_base_ = ['mmdet::rtmdet/rtmdet_s_8xb32-300e_coco.py', '../settings/one-stage.py']
custom_imports = dict(imports=['wkd_det'], allow_failed_imports=False)
default_hooks = dict(checkpoint=dict(type='ExactCheckpointHook'))

# Teacher: MMDetection's RTMDet-l, published as 51.3 box AP; the student is published as 44.5
# without a teacher.
model = dict(
    type='DistilledRTMDet',
    teacher=dict(
        config='mmdet::rtmdet/rtmdet_l_8xb32-300e_coco.py',
        checkpoint='https://download.openmmlab.com/mmdetection/v3.0/rtmdet/'
        'rtmdet_l_8xb32-300e_coco/rtmdet_l_8xb32-300e_coco_20220719_112030-5a0be7c4.pth',
    ),
)
