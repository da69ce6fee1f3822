# 300 epochs of SGD in batches of 512 with cosine decay: CNN students among Transformers.
_base_ = '../runtimes/classification.py'

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=300, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
param_scheduler = dict(type='CosineAnnealingLR', by_epoch=True, eta_min=0, T_max=300)
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=2.5e-2, momentum=0.9, weight_decay=2e-3),
)
auto_scale_lr = dict(enable=False, base_batch_size=512)
