# Method:   WTTM: TTM with a weight per image
# For:      cnn, cnn-transformer, self
#
# Exponent and weight that its code has next to CRD; those of other settings are not published.
distill = dict(
    loss_wttm=dict(tap='logits', loss=dict(type='WTTMLoss', exponent=0.2, loss_weight=4.0)),
)
