# Method:   FT, first run: the teacher's last map is paraphrased
# For:      cnn
#
# The first of two runs, in the CRD benchmark of 30 epochs at a learning rate of 0.01 (--cfg-options
# train_cfg.max_epochs=30 optim_wrapper.optimizer.lr=0.01): only the paraphraser is trained. The
# second one is ft, with load_from=<the last checkpoint of this one>.
student = dict(ce_weight=0.0)
distill = dict(
    loss_ft=dict(
        tap='last', same_size=False, loss=dict(type='FTLoss', pretraining=True, loss_weight=1.0)
    ),
)
