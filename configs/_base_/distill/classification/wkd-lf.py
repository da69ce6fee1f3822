# Method:   WKD-L + WKD-F: Wasserstein distances on logits and last feature map
# For:      classifier
# Needs:    class costs
_base_ = 'wkd-l.py'

distill = dict(
    loss_wkd_f=dict(
        loss=dict(type='WKDFeatureLoss', grid=2, mean_cov_ratio=2.0, loss_weight=0.05),
    ),
)
