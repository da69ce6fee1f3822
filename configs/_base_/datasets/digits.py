# Digits: the 1797 that scikit-learn ships, enlarged to 32 x 32 pixels, in strong noise.
# Ten training images a class, so that there is a gap to close.
train_dataloader = dict(
    batch_size=40,
    num_workers=0,
    persistent_workers=False,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    collate_fn=dict(type='collate_images'),
    dataset=dict(
        type='DigitsDataset',
        split='train',
        per_class=10,
        noise=0.4,
        transforms=[dict(type='RandomCrop', size=32, padding=2)],
    ),
)
val_dataloader = dict(
    batch_size=200,
    num_workers=0,
    persistent_workers=False,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='collate_images'),
    dataset=dict(type='DigitsDataset', split='test', noise=0.4),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='TopKAccuracy', topk=(1, 2))
test_evaluator = val_evaluator
