# Method:   WKD-L + WKD-F: Wasserstein distances on logits and last feature map
# For:      cnn, cnn-transformer, self, reference
# Needs:    class costs
_base_ = 'wkd-l.py'

distill = dict(
    loss_wkd_f=dict(
        tap='last',
        loss=dict(type='WKDFeatureLoss', grid=2, mean_cov_ratio=2.0, loss_weight=0.05),
    ),
)
