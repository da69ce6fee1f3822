# Method:   CRD: contrast between images, with a memory of all of them
# For:      cnn, cnn-transformer, self
#
# Place, sizes and weight of the authors' code for CIFAR-100.
train_dataset = dict(with_index=True)
distill = dict(
    loss_crd=dict(
        tap='pool',
        loss=dict(type='CRDLoss', num_samples=50000, negatives=16384, loss_weight=0.8),
    ),
)
custom_hooks = [dict(type='SampleTableHook')]
