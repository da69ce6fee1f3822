# Method:   AB: on which side of zero the values before the activation lie
# For:      cnn
#
# The first of two runs, in the CRD benchmark 30 epochs (--cfg-options train_cfg.max_epochs=30): no
# cross entropy. The second is the plain student's, with load_from=<its last checkpoint>.
student = dict(ce_weight=0.0)
distill = dict(
    loss_ab=dict(
        tap='pyramid',
        modules='stages_before',
        connector=dict(type='ConvConnector', resize=True),
        loss=dict(type='ABLoss', margin=1.0),
    ),
)
