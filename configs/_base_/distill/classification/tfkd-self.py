# Method:   Tf-KD (self): the divergence from its own earlier self
# For:      self
#
# Weight, temperature and multiplier of its code for ResNet-18 on CIFAR-100.
student = dict(ce_weight=0.05)
distill = dict(
    loss_tfkd=dict(
        tap='logits', loss=dict(type='TfKDSelfLoss', alpha=0.95, multiplier=50.0, temperature=6.0)
    ),
)
