# WKD-L: discrete Wasserstein distance on the class logits of the student's sampled RoIs.
# The paper's COCO settings for: temperature 1, kappa (sharpness) 2, weights 1.
loss_wkd_l = dict(
    tap='roi_logits',
    rois='all',
    background=True,
    loss=dict(
        type='WKDLogitLoss',
        cost=dict(type='ClassifierCost'),
        temperature=1.0,
        sharpness=2.0,
        transport_weight=1.0,
        epsilon=0.05,
        num_iters=10,
        loss_weight=1.0,
    ),
)
