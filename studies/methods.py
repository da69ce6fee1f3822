# All distillation methods on the mini set, each with the same search over its weight.
#
# The published weights are for COCO. Beside a task loss of 3.3 in the first step here, the map
# terms of NST, PKD, ICD, ReviewKD and FCFD begin at 13 to 65: theirs are searched around a tenth
# of the published weight, all others around the published one. In a combination one factor scales
# all weights.
#
# Command: python tools/compare.py studies/methods.py --jobs 2
# Runs:    3 of the search for each method with a weight, and 5 of the table for each method
_base_ = '_base_/mini.py'

title = 'Distillation methods on the mini set'
references = ['plain', 'kd']
length = 200  # of 500: nearly a hundred runs in two hours on two cores
search = dict(seeds=[101], factors=[0.3, 1, 3], length=100)

methods = dict(
    plain=dict(title='plain student', config='configs/mini/faster-rcnn_student.py'),
    kd=dict(
        title='KD',
        config='configs/mini/kd.py',
        weight='model.distill.loss_kd.loss.loss_weight',
    ),
    dkd=dict(
        title='DKD',
        config='configs/mini/dkd.py',
        weight='model.distill.loss_dkd.loss.loss_weight',
    ),
    fitnet=dict(
        title='FitNet',
        config='configs/mini/fitnet.py',
        weight='model.distill.loss_fitnet.loss.loss_weight',
    ),
    fgfi=dict(
        title='FGFI',
        config='configs/mini/fgfi.py',
        weight='model.distill.loss_fgfi.loss.loss_weight',
    ),
    icd=dict(
        title='ICD',
        config='configs/mini/icd.py',
        overrides={'model.distill.loss_icd.loss.loss_weight': 0.3},
        weight='model.distill.loss_icd.loss.loss_weight',
    ),
    nst=dict(
        title='NST',
        config='configs/mini/nst.py',
        overrides={'model.distill.loss_nst.loss.loss_weight': 5.0},
        weight='model.distill.loss_nst.loss.loss_weight',
    ),
    ickd=dict(
        title='ICKD-C',
        config='configs/mini/ickd.py',
        weight='model.distill.loss_ickd.loss.loss_weight',
    ),
    pkd=dict(
        title='PKD',
        config='configs/mini/pkd.py',
        overrides={'model.distill.loss_pkd.loss.loss_weight': 2.4},
        weight='model.distill.loss_pkd.loss.loss_weight',
    ),
    reviewkd=dict(
        title='ReviewKD',
        config='configs/mini/reviewkd.py',
        overrides={'model.distill.loss_reviewkd.loss.loss_weight': 0.12},
        weight='model.distill.loss_reviewkd.loss.loss_weight',
    ),
    fcfd=dict(
        title='FCFD',
        config='configs/mini/fcfd.py',
        overrides={'model.distill.loss_fcfd_app.loss.loss_weight': 0.8},
        weight=[
            'model.distill.loss_fcfd_app.loss.loss_weight',
            'model.distill.loss_fcfd_kd.loss.loss_weight',
            'model.distill.loss_fcfd_box.loss.loss_weight',
            'model.distill.loss_fcfd_kd_st.loss.loss_weight',
            'model.distill.loss_fcfd_box_st.loss.loss_weight',
            'model.distill.loss_fcfd_kd_ts.loss.loss_weight',
            'model.distill.loss_fcfd_box_ts.loss.loss_weight',
        ],
    ),
    wkd_l=dict(
        title='WKD-L',
        config='configs/mini/wkd-l.py',
        weight='model.distill.loss_wkd_l.loss.loss_weight',
    ),
    wkd_f=dict(
        title='WKD-F',
        config='configs/mini/wkd-f.py',
        weight='model.distill.loss_wkd_f.loss.loss_weight',
    ),
    wkd_f_fpn=dict(
        title='WKD-F on the FPN',
        config='configs/mini/wkd-f_fpn.py',
        weight='model.distill.loss_wkd_f_fpn.loss.loss_weight',
    ),
    wkd_lf=dict(
        title='WKD-L + WKD-F',
        config='configs/mini/wkd-lf.py',
        weight=[
            'model.distill.loss_wkd_l.loss.loss_weight',
            'model.distill.loss_wkd_f.loss.loss_weight',
        ],
    ),
    wkd_lf_box=dict(
        title='WKD-L + WKD-F + box',
        config='configs/mini/wkd-lf-box.py',
        weight=[
            'model.distill.loss_wkd_l.loss.loss_weight',
            'model.distill.loss_wkd_f.loss.loss_weight',
            'model.distill.loss_wkd_box.loss.loss_weight',
        ],
    ),
    dkd_reviewkd=dict(
        title='DKD + ReviewKD',
        config='configs/mini/dkd-reviewkd.py',
        overrides={'model.distill.loss_reviewkd.loss.loss_weight': 0.12},
        weight=[
            'model.distill.loss_dkd.loss.loss_weight',
            'model.distill.loss_reviewkd.loss.loss_weight',
        ],
    ),
    reviewkd_wkd=dict(
        title='ReviewKD + WKD-L + WKD-F',
        config='configs/mini/reviewkd-wkd.py',
        overrides={'model.distill.loss_reviewkd.loss.loss_weight': 0.12},
        weight=[
            'model.distill.loss_reviewkd.loss.loss_weight',
            'model.distill.loss_wkd_l.loss.loss_weight',
            'model.distill.loss_wkd_f.loss.loss_weight',
        ],
    ),
    fcfd_wkd=dict(
        title='FCFD with WKD',
        config='configs/mini/fcfd-wkd.py',
        weight=[
            'model.distill.loss_wkd_f.loss.loss_weight',
            'model.distill.loss_wkd_l.loss.loss_weight',
            'model.distill.loss_fcfd_box.loss.loss_weight',
            'model.distill.loss_wkd_l_st.loss.loss_weight',
            'model.distill.loss_fcfd_box_st.loss.loss_weight',
            'model.distill.loss_wkd_l_ts.loss.loss_weight',
            'model.distill.loss_fcfd_box_ts.loss.loss_weight',
        ],
    ),
)
