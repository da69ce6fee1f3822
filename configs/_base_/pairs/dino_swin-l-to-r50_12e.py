# DINO Swin-L to DINO R-50, COCO, 12 epochs.
#
# Teacher:  DINO Swin-L (5 scales, 36 epochs, 58.4 box AP published by MMDetection)
# Student:  DINO R-50 (4 scales, 12 epochs)
# Kind:     query
# Needs:    COCO 2017 in data/coco; the weights of the teacher and of the backbone are downloaded
# Command:  bash tools/dist_train.sh configs/detection/METHOD_dino_swin-l-to-r50_12e.py 8
_base_ = 'mmdet::dino/dino-4scale_r50_8xb2-12e_coco.py'
custom_imports = dict(imports=['wkd_det'], allow_failed_imports=False)
default_hooks = dict(checkpoint=dict(type='ExactCheckpointHook'))

# Teacher: MMDetection's DINO Swin-L with five scales, 36 epochs, published as 58.4 box AP; the
# student is published as 49.0 without a teacher. The teacher's first scale, of stride 4, has no
# counterpart.
model = dict(
    type='DistilledDINO',
    teacher=dict(
        config='mmdet::dino/dino-5scale_swin-l_8xb2-36e_coco.py',
        checkpoint='https://github.com/RistoranteRist/mmlab-weights/releases/download/dino-swinl/'
        'dino-5scale_swin-l_8xb2-36e_coco-5486e051.pth',
    ),
)

settings = {'wkd-f-memory': dict(loss_wkd_f_memory=dict(teacher_levels=[1]))}
