# Method:   WKD-F: Wasserstein distance of Gaussians on the last feature map
# For:      cnn, cnn-transformer, self, reference
#
# The connector is the pair's.
distill = dict(
    loss_wkd_f=dict(
        tap='last',
        loss=dict(type='WKDFeatureLoss', grid=2, mean_cov_ratio=2.0, loss_weight=0.05),
    ),
)
