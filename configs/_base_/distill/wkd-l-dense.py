# Method:   WKD-L-dense: WKD-L for heads with a sigmoid for each class, background as a bin
# For:      one-stage, gfl, anchor-free, rtmdet
#
# WKD-L between classes and background, on the student's positives and weighed by the teacher's
# score; distances of the classes by the rows of the teacher's classifier, kappa as on RoIs. Not in
# the paper, which has no dense head, and its weight has not been searched.
distill = dict(
    loss_wkd_l_dense=dict(
        tap='dense_logits',
        places='positives',
        weigh_by='teacher',
        average='weights',
        loss=dict(
            type='WKDSigmoidLoss',
            cost=dict(type='ClassifierCost'),
            temperature=1.0,
            sharpness=2.0,
            loss_weight=1.0,
        ),
    ),
)
