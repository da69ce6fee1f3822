# Method:   FitNet: squared distance of a middle feature map
# For:      cnn
#
# Place, regressor and weight of the CRD benchmark: 100 times the mean square, which is 200 times
# the half that FitNetLoss takes.
distill = dict(
    loss_fitnet=dict(
        tap='middle',
        connector=dict(type='RegressorConnector'),
        loss=dict(type='FitNetLoss', loss_weight=200.0),
    ),
)
