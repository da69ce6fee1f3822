# Numbers of the reference code for wrn_40_2-to-shufflev1, and for pairs of two families that have no
# published setting. The student's map has half the size of the teacher's, and another width: MGD, FSP
# and DiffKD get a connector, which their own code has for widths alone or not at all.
__connector = dict(type='TransposedConvConnector')
settings = {
    'wkd-l': dict(loss_wkd_l=dict(loss=dict(temperature=6.0, transport_weight=200.0))),
    'wkd-f': dict(
        loss_wkd_f=dict(
            connector=__connector, loss=dict(grid=4, mean_cov_ratio=3.0, loss_weight=0.3)
        )
    ),
    'wkd-lf': dict(
        loss_wkd_l=dict(loss=dict(temperature=4.0, transport_weight=60.0)),
        loss_wkd_f=dict(
            connector=__connector, loss=dict(grid=4, mean_cov_ratio=3.0, loss_weight=0.5)
        ),
    ),
    'mgd': dict(loss_mgd=dict(connector=dict(type='ConvConnector', norm_cfg=None, resize=True))),
    'fsp': dict(loss_fsp=dict(connector=dict(type='ConvConnector', resize=True))),
    'diffkd': dict(loss_diffkd=dict(connector=__connector)),
}
