# Method:   FCFD with WKD: FCFD with WKD-L and WKD-F in place of its own terms
# For:      two-stage
#
# FCFD with WKD in place of its own terms: WKD-F on RoIs for the features, WKD-L for the
# divergences; the offsets stay. The student's bridge is the convolution of WKD-F, one for all
# levels. Settings of either part as alone, for.
__logits = dict(
    type='WKDLogitLoss',
    cost=dict(type='ClassifierCost'),
    temperature=1.0,
    sharpness=2.0,
    transport_weight=1.0,
    epsilon=0.05,
    num_iters=10,
    loss_weight=1.0,
)
__bridge = dict(type='ConvConnector', kernel_size=3)
__offsets = dict(type='OffsetLoss', loss_weight=1.0)

distill = dict(
    loss_wkd_f=dict(
        tap='roi_feats',
        roi_size=18,
        connector_at='map',
        connector=__bridge,
        loss=dict(type='WKDFeatureLoss', grid=4, mean_cov_ratio=2.0, loss_weight=5e-3),
    ),
    loss_wkd_l=dict(tap='roi_logits', loss=__logits),
    loss_fcfd_box=dict(tap='roi_offsets', loss=__offsets),
    loss_wkd_l_st=dict(tap='crossed_logits', head='teacher', connector='loss_wkd_f', loss=__logits),
    loss_fcfd_box_st=dict(
        tap='crossed_offsets', head='teacher', connector='loss_wkd_f', loss=__offsets
    ),
    loss_wkd_l_ts=dict(tap='crossed_logits', head='student', connector=__bridge, loss=__logits),
    loss_fcfd_box_ts=dict(
        tap='crossed_offsets', head='student', connector='loss_wkd_l_ts', loss=__offsets
    ),
)
