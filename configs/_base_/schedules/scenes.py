# 2400 iterations of AdamW with warm-up and cosine decay: five epochs of 7,745 scenes.
_base_ = 'mmdet::_base_/default_runtime.py'
custom_imports = dict(imports=['wkd_det'], allow_failed_imports=False)  # for the hooks

max_iters = 2400

train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=max_iters)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

# The two factors multiply, so shorter runs need no other begin, only another end.
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=50),
    dict(type='CosineAnnealingLR', eta_min=0, by_epoch=False, begin=0, end=max_iters),
]
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=2e-3, weight_decay=1e-2, fused=True),
    clip_grad=dict(max_norm=10),
)
auto_scale_lr = dict(enable=False, base_batch_size=16)

default_hooks = dict(
    logger=dict(interval=50),
    checkpoint=dict(
        type='ExactCheckpointHook', by_epoch=False, interval=300, save_last=True, max_keep_ckpts=1
    ),
    channels_last=dict(type='ChannelsLastHook'),
)
log_processor = dict(window_size=50, by_epoch=False)
randomness = dict(seed=0)
