# Numbers of the reference code for resnet34-to-resnet18.
__wkd_l = dict(temperature=2.0, sharpness=1.0)
__wkd_f = dict(connector=dict(type='BottleneckConnector'))
__cells = dict(grid=4, mean_cov_ratio=2.0)
settings = {
    'wkd-l': dict(loss_wkd_l=dict(loss=dict(__wkd_l, transport_weight=30.0))),
    'wkd-f': dict(loss_wkd_f=dict(__wkd_f, loss=dict(__cells, loss_weight=0.02))),
    'wkd-lf': dict(
        loss_wkd_l=dict(loss=dict(__wkd_l, transport_weight=10.0)),
        loss_wkd_f=dict(__wkd_f, loss=dict(__cells, loss_weight=1.0)),
    ),
}
