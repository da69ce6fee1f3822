# Method:   KD + LSKD: KD of standardised logits
# For:      cnn, cnn-transformer, self
#
# Base temperature and weight of its code for CIFAR-100.
student = dict(ce_weight=0.1)
distill = dict(
    loss_kd=dict(
        tap='logits', loss=dict(type='KDLoss', standardize=True, temperature=2.0, loss_weight=9.0)
    ),
)
