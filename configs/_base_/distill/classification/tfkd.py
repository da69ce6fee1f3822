# Method:   Tf-KD: a virtual teacher that is right in 99 of 100 cases
# For:      alone
#
# Weight, temperature and multiplier of its code for ResNet-18 on CIFAR-100.
student = dict(ce_weight=0.9)
distill = dict(
    loss_tfkd=dict(
        tap='logits', loss=dict(type='TfKDLoss', alpha=0.1, multiplier=100.0, temperature=20.0)
    ),
)
