# photo scenes, 2400 steps.
#
# Teacher:  ResNet-18 of 32 base channels
# Student:  ResNet-18 of 16
# Kind:     two-stage
# Needs:    data/photo_scenes (python tools/make_photo_scenes.py data/tiny-imagenet-200), the
#           student's backbone (python tools/train.py configs/scenes/backbones/resnet18-w16.py) and
#           the trained teacher (python tools/train.py configs/scenes/faster-rcnn_teacher.py)
# Command:  python tools/train.py configs/scenes/METHOD_scenes.py
_base_ = '../../scenes/faster-rcnn_student.py'
_base_.pop('work_dir')  # the plain student's: each config has a folder of its own name

model = dict(
    type='DistilledFasterRCNN',
    teacher=dict(
        config='wkd_det::scenes/faster-rcnn_teacher.py',
        checkpoint='work_dirs/scenes/faster-rcnn_teacher/iter_4800.pth',
        inference=dict(channels_last=True, fuse=True),
    ),
)

# The teacher has a wider FPN (64 channels to 32), of four levels (P2 to P5). Objects span 4 to 15
# pixels of P2 (24 x 32 pixels), the level that nearly all RoIs are read from: methods that compare
# maps do so there, behind the connector of WKD-F, a 3 x 3 convolution with batch normalisation:
# FitNet and PKD did far better there than at all levels behind 1 x 1 convolutions in the audit that
# docs/study.md reports. FGFI, behind the 3 x 3 convolution of its authors, imitates every object
# there too: over all levels three of four would be imitated only where no RoI is read. ReviewKD,
# which fuses levels from the top down, has all four.
__p2 = dict(
    levels=[0], connector=dict(type='ConvConnector', kernel_size=3, norm_cfg=dict(type='BN'))
)
__width = dict(connector=dict(mid_channels=64))  # as wide as the teacher's
__rois = dict(roi_size=8, loss=dict(grid=2))  # 8 x 8 features in 2 x 2 cells
settings = {
    'fitnet': dict(loss_fitnet=__p2),
    'nst': dict(loss_nst=__p2),
    'pkd': dict(loss_pkd=__p2),
    'ickd': dict(loss_ickd=__p2),
    'fgfi': dict(loss_fgfi=dict(levels=[0])),
    'reviewkd': dict(loss_reviewkd=__width),
    'dkd-reviewkd': dict(loss_reviewkd=__width),
    'reviewkd-wkd': dict(loss_reviewkd=__width, loss_wkd_f=__rois),
    'fcfd': dict(loss_fcfd_app=dict(loss=dict(loss_weight=8.0))),  # 2 times the number of levels
    'fcfd-wkd': dict(loss_wkd_f=__rois),
    'wkd-f': dict(loss_wkd_f=__rois),
    'wkd-lf': dict(loss_wkd_f=__rois),
    'wkd-lf-box': dict(loss_wkd_f=__rois),
    # P2 in 8 x 8 cells of 3 x 4 pixels.
    'wkd-f-fpn': dict(loss_wkd_f_fpn=dict(levels=[0], loss=dict(grid=8))),
}
