# Method:   DiffKD: features and logits denoised by a diffusion model
# For:      cnn
#
# Its code for ImageNet; there is none for CIFAR-100.
distill = dict(
    loss_diffkd=dict(tap='last', loss=dict(type='DiffKDLoss', loss_weight=1.0)),
    loss_diffkd_logits=dict(tap='logits', loss=dict(type='DiffKDLogitLoss', loss_weight=1.0)),
)
