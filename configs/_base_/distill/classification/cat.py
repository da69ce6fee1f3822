# Method:   CAT-KD: class activation maps
# For:      cnn
#
# Weight and resolution of its code for resnet32x4 to resnet8x4.
distill = dict(
    loss_cat=dict(
        tap='class_activation',
        same_size=False,
        loss=dict(type='CATKDLoss', resolution=2, normalize=False, loss_weight=15.0),
    ),
)
