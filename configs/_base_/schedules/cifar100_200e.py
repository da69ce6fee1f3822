# 200 epochs of SGD in batches of 128, a fifth after 60, 120 and 160, one epoch of linear warm-up: as
# the code of Tf-KD trains.
_base_ = '../runtimes/classification.py'

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=200, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=1e-3,
        begin=0,
        end=1,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
    dict(type='MultiStepLR', by_epoch=True, milestones=[60, 120, 160], gamma=0.2),
]
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=5e-4)
)
auto_scale_lr = dict(enable=False, base_batch_size=128)
