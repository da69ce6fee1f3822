# Method:   VID: likelihood of the teacher's maps under a Gaussian that the student predicts
# For:      cnn
#
# Stages and weight of the CRD benchmark.
distill = dict(
    loss_vid=dict(
        tap='pyramid', modules='stages', same_size=False, loss=dict(type='VIDLoss', loss_weight=1.0)
    ),
)
