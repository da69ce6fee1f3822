# A worked example with a search, on the mini set: five detectors, all searched alike.
#
# It shows how a study is written and run; three seeds of a short training decide nothing. Each
# method has a weight (the plain student that of its class loss), and the search scales it and then
# the learning rate. FitNet has the place of WKD-F: the level P2 behind the same connector.
#
# Command: python tools/compare.py studies/mini.py --jobs 2
# Runs:    5 of the search for each method, more where its best lies at the edge, and 3 of the table
_base_ = '_base_/mini.py'

title = 'A study on the mini set'
metrics = [dict(key='coco/bbox_mAP_50', title='AP50'), dict(key='coco/bbox_mAP_75', title='AP75')]
seeds = [1, 2, 3]
references = ['plain', 'kd']
search = dict(
    seeds=[101],
    length=250,  # of 500
    stages=[
        dict(keys='weight', factors=[0.3, 1, 3]),
        dict(keys='optim_wrapper.optimizer.lr', factors=[0.5, 1, 2]),
    ],
)
hypotheses = [
    dict(name='H1', title='WKD-L beats KD', method='wkd_l', over='kd'),
    dict(name='H2', title='WKD-F beats FitNet at the same place', method='wkd_f', over='fitnet'),
]

key = 'model.distill.loss_{}.loss.loss_weight'
at_p2 = 'model.distill.loss_{}.levels'
methods = dict(
    plain=dict(
        title='plain student',
        config='configs/mini/faster-rcnn_student.py',
        weight='model.roi_head.bbox_head.loss_cls.loss_weight',
    ),
    kd=dict(title='KD', config='configs/mini/kd.py', weight=key.format('kd')),
    fitnet=dict(
        title='FitNet on P2',
        config='configs/mini/fitnet.py',
        overrides={
            at_p2.format('fitnet'): [0],
            'model.distill.loss_fitnet.connector': dict(
                _delete_=True, type='ConvConnector', kernel_size=3
            ),
        },
        weight=key.format('fitnet'),
    ),
    wkd_l=dict(title='WKD-L', config='configs/mini/wkd-l.py', weight=key.format('wkd_l')),
    wkd_f=dict(
        title='WKD-F on P2',
        config='configs/mini/wkd-f-fpn.py',
        overrides={at_p2.format('wkd_f_fpn'): [0]},
        weight=key.format('wkd_f_fpn'),
    ),
)
del key, at_p2
