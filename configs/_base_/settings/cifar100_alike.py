# Numbers of the reference code for resnet32x4-to-resnet8x4, and for pairs of one family that have no
# published setting.
__connector = dict(type='ConvConnector', act_cfg=dict(type='ReLU'))
settings = {
    'wkd-l': dict(loss_wkd_l=dict(loss=dict(temperature=8.0, transport_weight=600.0))),
    'wkd-f': dict(
        loss_wkd_f=dict(
            connector=__connector, loss=dict(grid=1, mean_cov_ratio=4.0, loss_weight=0.08)
        )
    ),
    'wkd-lf': dict(
        loss_wkd_l=dict(loss=dict(temperature=8.0, transport_weight=200.0)),
        loss_wkd_f=dict(
            connector=__connector, loss=dict(grid=1, mean_cov_ratio=8.0, loss_weight=0.08)
        ),
    ),
}
