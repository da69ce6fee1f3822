# ImageNet: random resized crops and flips; tested on the centre.
_base_ = './images.py'

train_dataloader = dict(
    batch_size=64,
    num_workers=8,
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
    dataset=dict(
        type='ImageNetDataset',
        data_root='data/imagenet',
        split='val',
        transforms=[dict(type='Resize', size=256), dict(type='CenterCrop', size=224)],
    ),
)
test_dataloader = dict(_base_.val_dataloader, **val_dataloader)
