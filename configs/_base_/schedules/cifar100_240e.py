# 240 epochs of SGD in batches of 64, a tenth after 150, 180 and 210.
# Nesterov as in the reference implementation; the paper names none.
_base_ = '../runtimes/classification.py'

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=240, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
param_scheduler = dict(type='MultiStepLR', by_epoch=True, milestones=[150, 180, 210], gamma=0.1)
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.05, momentum=0.9, weight_decay=5e-4, nesterov=True),
)
auto_scale_lr = dict(enable=False, base_batch_size=64)
