# Method:   QFL-KD: the classification loss of CrossKD and BCKD on the student's own head
# For:      one-stage, gfl, anchor-free, rtmdet
#
# Binary cross entropy with the teacher's probabilities at all places, weighed by how far apart
# both are: the loss of BCKD, and that of CrossKD without the crossing. Divided by the number of the
# student's positives; both papers give it the weight 1.
distill = dict(
    loss_qfl_kd=dict(
        tap='dense_logits',
        places='all',
        average='positives',
        loss=dict(type='QualityFocalKDLoss', beta=1.0, loss_weight=1.0),
    ),
)
