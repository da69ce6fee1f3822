# Method:   WKD-F-memory: Gaussian Wasserstein distance on the memory of the encoder
# For:      query
#
# WKD-F on the first level of the encoder's memory, of stride 8 in a DINO, in 16 x 16 cells; weight
# and gamma as on RoIs. Not in the paper, and its weight has not been searched.
distill = dict(
    loss_wkd_f_memory=dict(
        tap='memory',
        levels=[0],
        connector=dict(type='ConvConnector', kernel_size=3),
        loss=dict(type='WKDFeatureLoss', grid=16, mean_cov_ratio=2.0, loss_weight=5e-3),
    ),
)
