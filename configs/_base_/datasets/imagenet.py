# ImageNet: random resized crops and flips; tested on the centre.
train_dataloader = dict(
    batch_size=64,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='collate_images'),
    dataset=dict(
        type='ImageNetDataset',
        data_root='data/imagenet',
        split='train',
        transforms=[
            dict(type='RandomResizedCrop', size=224),
            dict(type='RandomHorizontalFlip'),
        ],
    ),
)
val_dataloader = dict(
    batch_size=64,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='collate_images'),
    dataset=dict(
        type='ImageNetDataset',
        data_root='data/imagenet',
        split='val',
        transforms=[dict(type='Resize', size=256), dict(type='CenterCrop', size=224)],
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='TopKAccuracy', topk=(1, 5))
test_evaluator = val_evaluator
