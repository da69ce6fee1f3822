# Method:   DPK: maps of which a share is replaced by those of the teacher, our reading
# For:      cnn
#
# No code is public; sizes and weight are ours.
distill = dict(
    loss_dpk=dict(tap='pyramid', modules='stages', same_size=False, loss=dict(type='DPKLoss')),
)
