# 500 iterations of AdamW with warm-up and cosine decay, evaluated once at the end.
_base_ = 'mmdet::_base_/default_runtime.py'
custom_imports = dict(imports=['wkd_det'], allow_failed_imports=False)  # for the hook

max_iters = 500

train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=max_iters)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

# The two factors multiply, so shorter runs need no other begin, only another end.
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=25),
    dict(type='CosineAnnealingLR', eta_min=0, by_epoch=False, begin=0, end=max_iters),
]
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=4e-3, weight_decay=1e-4),
    clip_grad=dict(max_norm=10),
)
auto_scale_lr = dict(enable=False, base_batch_size=16)

default_hooks = dict(
    logger=dict(interval=25),
    # Often enough that an interrupted run loses a minute; the last one is iter_<max_iters>.pth.
    checkpoint=dict(
        type='ExactCheckpointHook', by_epoch=False, interval=100, save_last=True, max_keep_ckpts=1
    ),
)
log_processor = dict(window_size=25, by_epoch=False)
randomness = dict(seed=0)
