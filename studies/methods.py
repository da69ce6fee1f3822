# All distillation methods on the mini set, each with the same search over its weight.
#
# Command: python tools/compare.py studies/methods.py
# Runs:    per method with a weight 3 of the search and 5 of the table
_base_ = '_base_/mini.py'

title = 'Distillation methods on the mini set'
references = ['plain', 'kd']
search = dict(seeds=[101], factors=[0.3, 1, 3])

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
    nst=dict(
        title='NST',
        config='configs/mini/nst.py',
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
        weight='model.distill.loss_pkd.loss.loss_weight',
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
)
