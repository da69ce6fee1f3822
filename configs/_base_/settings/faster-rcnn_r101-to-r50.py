# Faster R-CNN: weight 1 is ReviewKD's published one for this pair.
__reviewkd = dict(loss=dict(loss_weight=1.0))
settings = {
    'reviewkd': dict(loss_reviewkd=__reviewkd),
    'dkd-reviewkd': dict(loss_reviewkd=__reviewkd),
    'reviewkd-wkd': dict(loss_reviewkd=__reviewkd),
}
