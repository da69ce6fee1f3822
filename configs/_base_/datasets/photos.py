# The photographs that scenes are made of, one by one: 50 classes, 64 x 64 pixels. Training has those
# of the scenes' training split, validation those of their search split.
# Made by: python tools/make_photo_scenes.py data/tiny-imagenet-200
train_dataloader = dict(
    batch_size=128,
    num_workers=0,
    persistent_workers=False,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='collate_images'),
    dataset=dict(
        type='ArraysDataset',
        path='data/photo_scenes/photos.npz',
        split='train',
        transforms=[
            dict(type='RandomCrop', size=48),  # half of the arithmetic saved
            dict(type='RandomHorizontalFlip'),
        ],
    ),
)
val_dataloader = dict(
    batch_size=250,
    num_workers=0,
    persistent_workers=False,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='collate_images'),
    dataset=dict(
        type='ArraysDataset',
        path='data/photo_scenes/photos.npz',
        split='val',
        # Whole photographs, of which batch normalisation has no statistics, are told worse.
        transforms=[dict(type='CenterCrop', size=48)],
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='TopKAccuracy', topk=(1, 5))
test_evaluator = val_evaluator
