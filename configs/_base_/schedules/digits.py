# 120 iterations of SGD with warm-up and cosine decay, evaluated once at the end.
# The rate is the best of 0.1, 0.2, 0.4 and 0.8 for the plain student.
_base_ = '../runtimes/classification.py'

max_iters = 120

train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=max_iters)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=10),
    dict(type='CosineAnnealingLR', eta_min=0, by_epoch=False, begin=0, end=max_iters),
]
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.4, momentum=0.9, weight_decay=5e-4, nesterov=True),
)
auto_scale_lr = dict(enable=False, base_batch_size=40)
default_hooks = dict(
    logger=dict(interval=20),
    checkpoint=dict(by_epoch=False, interval=max_iters),
)
log_processor = dict(window_size=20, by_epoch=False)
