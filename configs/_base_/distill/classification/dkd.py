# Method:   DKD: target and non-target classes decoupled
# For:      cnn, cnn-transformer, self
#
# Temperature, weights and warm-up of mdistiller for resnet32x4 to resnet8x4.
distill = dict(
    loss_dkd=dict(tap='logits', loss=dict(type='DKDLoss', alpha=1.0, beta=8.0, temperature=4.0)),
)
custom_hooks = [dict(type='TermScheduleHook', terms=['loss_dkd'], warm_up=20)]
