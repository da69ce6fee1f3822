# Method:   DKD + LSKD: DKD of standardised logits
# For:      cnn, cnn-transformer, self
#
# Both weights of DKD nine times as large, as its code has them.
distill = dict(
    loss_dkd=dict(
        tap='logits',
        loss=dict(type='DKDLoss', standardize=True, alpha=9.0, beta=72.0, temperature=2.0),
    ),
)
custom_hooks = [dict(type='TermScheduleHook', terms=['loss_dkd'], warm_up=20)]
