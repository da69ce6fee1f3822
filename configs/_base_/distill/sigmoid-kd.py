# Method:   sigmoid KD: binary divergence of each class of a dense head
# For:      one-stage, gfl, anchor-free, rtmdet
#
# KD for heads with a sigmoid for each class, on the student's positives and weighed by the
# teacher's score. Its weight has not been searched.
distill = dict(
    loss_sigmoid_kd=dict(
        tap='dense_logits',
        places='positives',
        weigh_by='teacher',
        average='weights',
        loss=dict(type='SigmoidKDLoss', temperature=1.0, loss_weight=1.0),
    ),
)
