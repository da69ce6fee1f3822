# Method:   KD + CTKD: KD at a temperature that is trained against the student
# For:      cnn, cnn-transformer, self
#
# The global temperature of its code; the reversal grows over the first ten epochs.
student = dict(ce_weight=0.1)
distill = dict(
    loss_ctkd=dict(tap='logits', loss=dict(type='CTKDLoss', loss_weight=0.9)),
)
custom_hooks = [
    dict(type='TermScheduleHook', terms=['loss_ctkd.reversal'], warm_up=10, ramp='cosine')
]
