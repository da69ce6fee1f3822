# WKD-F on RoIs: Wasserstein distance of diagonal Gaussians over the cells of the RoIAlign
# output. The paper's COCO settings: 18 x 18, 4 x 4 cells, gamma (mean_cov_ratio) 2, weight 5e-3,
# a 3 x 3 convolution as projector.
loss_wkd_f = dict(
    tap='roi_feats',
    roi_size=18,
    connector_at='map',
    connector=dict(type='ConvConnector', kernel_size=3),
    loss=dict(type='WKDFeatureLoss', grid=4, mean_cov_ratio=2.0, loss_weight=5e-3),
)
