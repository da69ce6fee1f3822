# mini data set, 500 steps.
#
# Teacher:  ResNet-34 of 32 base channels
# Student:  ResNet-18 of 16
# Kind:     two-stage
# Needs:    data/mini_digits (python tools/make_mini_dataset.py) and the trained teacher
#           (python tools/train.py configs/mini/faster-rcnn_teacher.py)
# Command:  python tools/train.py configs/mini/METHOD.py
_base_ = '../../mini/faster-rcnn_student.py'
custom_imports = dict(imports=['wkd_det'], allow_failed_imports=False)
_base_.pop('work_dir')  # the plain student's: each config has a folder of its own name

model = dict(
    type='DistilledFasterRCNN',
    teacher=dict(
        config='wkd_det::mini/faster-rcnn_teacher.py',
        checkpoint='work_dirs/mini/faster-rcnn_teacher/iter_600.pth',
    ),
)

# The teacher has a wider FPN (64 channels to 32), of four levels (P2 to P5); the digits span 4 to 10
# pixels of P2, the level that all RoIs are read from. ICD has a file of its own (distill/icd_mini.py)
# for its hook.
__width = dict(connector=dict(mid_channels=64))  # fused maps as wide as the teacher's
__adapted = dict(connector=dict(type='ConvConnector', kernel_size=1, norm_cfg=None))
__rois = dict(roi_size=8, loss=dict(grid=2))  # 8 x 8 features in 2 x 2 cells
settings = {
    'nst': dict(loss_nst=__adapted),
    'pkd': dict(loss_pkd=__adapted),
    'reviewkd': dict(loss_reviewkd=__width),
    'dkd-reviewkd': dict(loss_reviewkd=__width),
    'reviewkd-wkd': dict(loss_reviewkd=__width, loss_wkd_f=__rois),
    'fcfd': dict(loss_fcfd_app=dict(loss=dict(loss_weight=8.0))),  # 2 times the number of levels
    'fcfd-wkd': dict(loss_wkd_f=__rois),
    'wkd-f': dict(loss_wkd_f=__rois),
    'wkd-lf': dict(loss_wkd_f=__rois),
    'wkd-lf-box': dict(loss_wkd_f=__rois),
    # P2 has 24 x 24 pixels: 6 x 6 cells of 4 x 4.
    'wkd-f-fpn': dict(loss_wkd_f_fpn=dict(levels=[0], loss=dict(grid=6))),
}
