# Method:   FCFD: what each network's later stages make of the other's maps
# For:      cnn
#
# Temperature and weights of its code for CIFAR-100: 5 for the mean squares, which are twice what
# FitNetLoss takes.
__bridge = dict(type='BridgeConnector')
__logits = dict(type='KDLoss', temperature=4.0, loss_weight=1.0)

distill = dict(
    loss_fcfd_kd=dict(tap='logits', loss=__logits),
    loss_fcfd_app=dict(
        tap='crossed_features',
        connector=__bridge,
        loss=dict(type='FitNetLoss', loss_weight=10.0),
    ),
    loss_fcfd_crossed=dict(tap='crossed_logits', connector='loss_fcfd_app', loss=__logits),
)
custom_hooks = [dict(type='TermScheduleHook', terms=['loss_fcfd_app'], warm_up=20)]
