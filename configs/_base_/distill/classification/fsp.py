# Method:   FSP: products of the maps of neighbouring stages
# For:      cnn
#
# The first of two runs, in the CRD benchmark 30 epochs (--cfg-options train_cfg.max_epochs=30): no
# cross entropy. The second is the plain student's, with load_from=<its last checkpoint>.
student = dict(ce_weight=0.0)
distill = dict(
    loss_fsp=dict(tap='pyramid', modules='stages', loss=dict(type='FSPLoss', loss_weight=50.0)),
)
