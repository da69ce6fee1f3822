# Method:   WKD-L: discrete Wasserstein distance on the logits
# For:      cnn, cnn-transformer, self, reference
# Needs:    class costs
#
# Costs come from the rows of the teacher's classifier, unless the pair has a file of them.
distill = dict(
    loss_wkd_l=dict(
        tap='logits',
        loss=dict(
            type='WKDLogitLoss',
            cost=dict(type='ClassifierCost'),
            temperature=4.0,
            sharpness=1.0,
            transport_weight=30.0,
        ),
    ),
)
