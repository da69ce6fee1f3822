# Method:   Label smoothing: nine tenths for the label, the rest for the other classes
# For:      alone
#
# As the code of Tf-KD has it, in place of the cross entropy.
student = dict(ce_weight=0.0)
distill = dict(
    loss_smooth=dict(tap='logits', loss=dict(type='LabelSmoothingLoss', alpha=0.1)),
)
