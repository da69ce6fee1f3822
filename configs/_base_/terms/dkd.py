# DKD on the class logits of the student's sampled RoIs; alpha, beta and temperature are those of
# the published Faster R-CNN.
loss_dkd = dict(
    tap='roi_logits',
    rois='all',
    background=True,
    loss=dict(type='DKDLoss', alpha=1.0, beta=0.25, temperature=1.0, loss_weight=1.0),
)
