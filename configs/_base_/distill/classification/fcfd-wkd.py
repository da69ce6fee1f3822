# Method:   FCFD with WKD: FCFD with WKD-L for its divergences and WKD-F for its maps
# For:      cnn
# Needs:    class costs
#
# WKD-L has the settings that it has alone, WKD-F the weight of CIFAR-100: our choice.
__bridge = dict(type='BridgeConnector')
__logits = dict(
    type='WKDLogitLoss',
    cost=dict(type='ClassifierCost'),
    temperature=4.0,
    sharpness=1.0,
    transport_weight=30.0,
)

distill = dict(
    loss_wkd_l=dict(tap='logits', loss=__logits),
    loss_fcfd_app=dict(
        tap='crossed_features',
        connector=__bridge,
        pooled=False,
        loss=dict(type='WKDFeatureLoss', grid=2, mean_cov_ratio=2.0, loss_weight=0.05),
    ),
    loss_fcfd_crossed=dict(tap='crossed_logits', connector='loss_fcfd_app', loss=__logits),
)
custom_hooks = [dict(type='TermScheduleHook', terms=['loss_fcfd_app'], warm_up=20)]
