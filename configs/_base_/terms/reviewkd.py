# ReviewKD: the pyramid P2 to P6 fused from the top down (ABF) and compared at several resolutions.
# Width 256 and weight 1.2 are the published ones for Faster R-CNN.
loss_reviewkd = dict(
    tap='pyramid',
    connector=dict(type='ABFConnector', mid_channels=256),
    loss=dict(type='ReviewKDLoss', grids=(4, 2, 1), loss_weight=1.2),
)
