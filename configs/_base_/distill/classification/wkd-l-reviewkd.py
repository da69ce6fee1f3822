# Method:   WKD-L + ReviewKD: WKD-L on the logits and ReviewKD on the stages
# For:      cnn
# Needs:    class costs
# Settings: wkd-l, reviewkd
#
# Each part has the weights that it has alone.
_base_ = 'reviewkd.py'

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
