# Method:   WCoRD: contrast and transport between images, our reading
# For:      cnn, cnn-transformer, self
#
# No code is public. Weights are ours: those of its parts as they stand in the loss.
train_dataset = dict(with_index=True)
distill = dict(
    loss_wcord=dict(
        tap='pool',
        loss=dict(type='WCoRDLoss', num_samples=50000, global_weight=0.8, local_weight=0.05),
    ),
)
custom_hooks = [dict(type='SampleTableHook')]
