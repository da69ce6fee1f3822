# 100 epochs of SGD, a tenth after 30, 60 and 90; 4 processes with 64 images each.
# Nesterov as in the reference implementation; the paper names none.
_base_ = '../runtimes/classification.py'

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=100, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
param_scheduler = dict(type='MultiStepLR', by_epoch=True, milestones=[30, 60, 90], gamma=0.1)
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=1e-4, nesterov=True),
)
auto_scale_lr = dict(enable=False, base_batch_size=256)
