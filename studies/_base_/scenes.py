# Shared by the studies on photo scenes: what is prepared, the arms, and the search.
commit = '9623aef4f3c11b7f751bf2555c285b7947274099'
metric = 'coco/bbox_mAP'
digits = 3  # as COCO's evaluation rounds
metrics = [
    dict(key='coco/bbox_mAP_50', title='AP50', digits=3),
    dict(key='coco/bbox_mAP_75', title='AP75', digits=3),
    dict(key='coco/bbox_mAP_s', title='AP small', digits=3),
    dict(key='coco/bbox_mAP_m', title='AP medium', digits=3),
]
__results = 'studies/results/scenes'  # what everybody starts from
__student = {'model.backbone.init_cfg.checkpoint': f'{__results}/resnet18-w16.pth'}
prepare = [
    dict(
        name='data',
        command=['python', 'tools/make_photo_scenes.py', 'data/tiny-imagenet-200'],
        makes='data/photo_scenes/dataset.json',
    ),
    dict(
        name='student_backbone',
        config='configs/scenes/backbones/resnet18-w16.py',
        work_dir='work_dirs/scenes/resnet18-w16',
        keep=f'{__results}/resnet18-w16.pth',
    ),
    dict(
        name='teacher_backbone',
        config='configs/scenes/backbones/resnet18-w32.py',
        work_dir='work_dirs/scenes/resnet18-w32',
        keep=f'{__results}/resnet18-w32.pth',
    ),
    dict(
        name='teacher',
        config='configs/scenes/faster-rcnn_teacher.py',
        work_dir='work_dirs/scenes/faster-rcnn_teacher',
        keep=f'{__results}/teacher.pth',
        overrides={'model.backbone.init_cfg.checkpoint': f'{__results}/resnet18-w32.pth'},
    ),
]

# The search sees scenes of other photographs than the table.
search_on_its_own_scenes = dict(
    seeds=[101],
    length=800,
    overrides={
        'val_dataloader.dataset.ann_file': 'annotations/groups_search.json',
        'val_dataloader.dataset.data_prefix.img': 'search/',
        'val_evaluator.ann_file': 'data/photo_scenes/annotations/groups_search.json',
    },
    stages=[
        dict(keys='weight', factors=[0.3, 1, 3]),
        dict(keys=['optim_wrapper.optimizer.lr'], factors=[0.5, 1, 2]),
    ],
    check=dict(factors=2),
)

# Places: the maps of P2 behind a 3 x 3 convolution and batch normalisation, as the configs have
# them, or RoI features of 8 x 8 behind the same convolution; WKD-F and its rivals have both.
__rois = dict(
    _delete_=True,
    tap='roi_feats',
    roi_size=8,
    connector_at='map',
    connector=dict(type='ConvConnector', kernel_size=3),
)
__on_p2 = dict(
    _delete_=True,
    tap='neck',
    levels=[0],
    connector=dict(type='ConvConnector', kernel_size=3),
    loss=dict(type='WKDFeatureLoss', grid=8, mean_cov_ratio=2.0),
)
__fitnet_on_p2 = dict(
    tap='neck',
    levels=[0],
    connector=dict(type='ConvConnector', kernel_size=3, norm_cfg=dict(type='BN')),
    loss=dict(type='FitNetLoss'),
)
# Terms that the config of an arm has at another place, or not at all; their weight is added below.
__replaced = dict(
    fitnet_rois=('fitnet', dict(__rois, loss=dict(type='FitNetLoss'))),
    pkd_rois=('pkd', dict(__rois, loss=dict(type='PKDLoss'))),
    wkd_lf_fpn=('wkd_f', __on_p2),
    kd_fitnet=('fitnet', __fitnet_on_p2),
)
__ways = ('', '_st', '_ts')
__fcfd = ['fcfd_app', *(f'fcfd_{part}{way}' for part in ('kd', 'box') for way in __ways)]
__fcfd_wkd = ['wkd_f', *(f'{part}{way}' for part in ('wkd_l', 'fcfd_box') for way in __ways)]
# Name, title, config, and per term the weight at which the search begins. Weights of a combination
# are scaled by one factor; 'KD + FitNet on P2' and 'WKD-L + WKD-F on P2' begin with those that the
# search chose for each term alone.
__arms = [
    ('kd', 'KD', 'kd', dict(kd=3.0)),
    ('dkd', 'DKD', 'dkd', dict(dkd=3.0)),
    ('fitnet', 'FitNet on P2', 'fitnet', dict(fitnet=3.0)),
    ('fitnet_rois', 'FitNet on RoIs', 'fitnet', dict(fitnet=3.0)),
    ('pkd', 'PKD on P2', 'pkd', dict(pkd=24.0)),
    ('pkd_rois', 'PKD on RoIs', 'pkd', dict(pkd=24.0)),
    ('nst', 'NST on P2', 'nst', dict(nst=15.0)),
    ('ickd', 'ICKD-C on P2', 'ickd', dict(ickd=1.0)),
    ('fgfi', 'FGFI', 'fgfi', dict(fgfi=0.01)),
    ('icd', 'ICD', 'icd', dict(icd=3.0)),
    ('reviewkd', 'ReviewKD on P2 to P5', 'reviewkd', dict(reviewkd=12.0)),
    ('kd_fitnet', 'KD + FitNet on P2', 'kd', dict(kd=3.0, fitnet=27.0)),
    ('fcfd', 'FCFD', 'fcfd', dict.fromkeys(__fcfd, 1.0) | dict(fcfd_app=8.0)),
    ('wkd_l', 'WKD-L', 'wkd-l', dict(wkd_l=3.0)),
    ('wkd_l_constant', 'WKD-L, constant cost', 'wkd-l', dict(wkd_l=3.0)),
    ('wkd_f', 'WKD-F on RoIs', 'wkd-f', dict(wkd_f=0.015)),
    ('wkd_f_fpn', 'WKD-F on P2', 'wkd-f-fpn', dict(wkd_f_fpn=0.015)),
    ('wkd_lf', 'WKD-L + WKD-F on RoIs', 'wkd-lf', dict(wkd_l=3.0, wkd_f=0.015)),
    ('wkd_lf_fpn', 'WKD-L + WKD-F on P2', 'wkd-lf', dict(wkd_l=0.9, wkd_f=0.135)),
    ('wkd_lf_box', 'WKD-L + WKD-F + box', 'wkd-lf-box', dict(wkd_l=3.0, wkd_f=0.015, wkd_box=0.3)),
    ('fcfd_wkd', 'FCFD with WKD', 'fcfd-wkd', dict.fromkeys(__fcfd_wkd, 1.0) | dict(wkd_f=0.015)),
    (
        'reviewkd_wkd',
        'ReviewKD with WKD',
        'reviewkd-wkd',
        dict(reviewkd=12.0, wkd_l=3.0, wkd_f=0.015),
    ),
]
__weight = 'model.distill.loss_{}.loss.loss_weight'
__teacher = {'model.teacher.checkpoint': f'{__results}/teacher.pth'}
arms = dict(
    plain=dict(
        title='plain student',
        config='configs/scenes/faster-rcnn_student.py',
        overrides=__student,
        weight='model.roi_head.bbox_head.loss_cls.loss_weight',
    )
)
for __name, __title, __config, __weights in __arms:
    __changes = {__weight.format(term): weight for term, weight in __weights.items()}
    if __name in __replaced:
        __term, __section = __replaced[__name]
        __loss = dict(__section['loss'], loss_weight=__weights[__term])
        del __changes[__weight.format(__term)]
        __changes[f'model.distill.loss_{__term}'] = dict(__section, loss=__loss)
    if __name == 'wkd_l_constant':
        __changes['model.distill.loss_wkd_l.loss.cost'] = dict(_delete_=True, type='ConstantCost')
    arms[__name] = dict(
        title=__title,
        config=f'configs/scenes/{__config}_scenes.py',
        overrides={**__student, **__teacher, **__changes},
        weight=[__weight.format(term) for term in __weights],
    )
arms['wkd_l_constant']['like'] = 'wkd_l'  # another cost and nothing else
