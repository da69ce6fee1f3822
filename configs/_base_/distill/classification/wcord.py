# Method:   WCoRD: contrast and transport between images, our reading
# For:      cnn, cnn-transformer, self
#
# No code is public. Both parts weigh 1: our choice.
train_dataset = dict(with_index=True)
distill = dict(
    loss_wcord=dict(
        tap='pool',
        loss=dict(type='WCoRDLoss', num_samples=50000),
    ),
)
custom_hooks = [dict(type='SampleTableHook')]
