# Method:   KD: Kullback-Leibler divergence of the class logits of the RoIs
# For:      two-stage, cascade, from-cascade
#
# KD: Kullback-Leibler divergence on the class logits of the student's sampled RoIs. Temperature 1
# and weight 1, as DKD has them for Faster R-CNN; the paper has no detector.
distill = dict(
    loss_kd=dict(
        tap='roi_logits',
        rois='all',
        background=True,
        loss=dict(type='KDLoss', temperature=1.0, loss_weight=1.0),
    ),
)
