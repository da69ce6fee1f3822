# The six arms that every study on CIFAR-100 has, for wrn_16_4 to wrn_10_2.
#
# Each has the places and the temperature of its authors, and the cross entropy at weight 1. The
# search scales what the authors tuned (of WKD-L the transport weight, of the plain student the
# cross entropy), then the learning rate. Logits and the map that the teacher pools are read from
# disk. FitNet has the place of WKD-F here; at the one of its authors it is an arm of cifar100.py.
_base_ = './cifar100.py'

_configs = 'configs/classification/cifar100'
_teacher = {'model.teacher.checkpoint': 'studies/results/cifar100/teacher.pth'}
_logits = {
    **_teacher,
    'train_dataloader.dataset.stored_teacher': 'data/teacher/cifar100_wrn_16_4',
}
_maps = {**_logits, 'train_dataloader.dataset.stored_maps': ['pool:input']}
_transport = 'model.distill.loss_wkd_l.loss.transport_weight'
methods = dict(
    plain=dict(
        title='plain student',
        config=f'{_configs}/baseline/wrn_10_2_short.py',
        overrides={'model.ce_weight': 1.0},
        weight='model.ce_weight',
    ),
    kd=dict(
        title='KD',
        config=f'{_configs}/kd_wrn_16_4-to-wrn_10_2_short.py',
        overrides={
            **_logits,
            'model.ce_weight': 1.0,
            'model.distill.loss_kd.loss.loss_weight': 3.0,
        },
        weight='model.distill.loss_kd.loss.loss_weight',
    ),
    fitnet=dict(
        title='FitNet',
        config=f'{_configs}/fitnet_wrn_16_4-to-wrn_10_2_short.py',
        overrides={**_maps, 'model.distill.loss_fitnet.tap': 'pooled_map'},
        weight='model.distill.loss_fitnet.loss.loss_weight',
    ),
    wkd_l=dict(
        title='WKD-L',
        config=f'{_configs}/wkd-l_wrn_16_4-to-wrn_10_2_short.py',
        overrides=_logits,
        weight=_transport,
    ),
    wkd_f=dict(
        title='WKD-F',
        config=f'{_configs}/wkd-f_wrn_16_4-to-wrn_10_2_short.py',
        overrides=_maps,
        weight='model.distill.loss_wkd_f.loss.loss_weight',
    ),
    wkd_lf=dict(
        title='WKD-L + WKD-F',
        config=f'{_configs}/wkd-lf_wrn_16_4-to-wrn_10_2_short.py',
        overrides=_maps,
        weight=[_transport, 'model.distill.loss_wkd_f.loss.loss_weight'],
    ),
)
