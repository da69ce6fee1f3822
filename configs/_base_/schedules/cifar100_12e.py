# 12 epochs of SGD in batches of 128: one epoch of linear warm-up, cosine decay to 0. Validated at the
# end and at each quarter.
_base_ = '../runtimes/classification.py'

max_epochs = 12

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=3)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
# The two factors multiply, so trainings of another length need no other begin, only another end.
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=0.01,
        begin=0,
        end=1,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
    dict(
        type='CosineAnnealingLR',
        eta_min=0,
        begin=0,
        end=max_epochs,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
]
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.4, momentum=0.9, weight_decay=5e-4, nesterov=True),
)
auto_scale_lr = dict(enable=False, base_batch_size=128)
