# CIFAR-100: 32 x 32 pixels; random crops of the padded image and flips.
_base_ = './images.py'

train_dataloader = dict(
    batch_size=64,
    num_workers=4,
    dataset=dict(
        type='CIFAR100Dataset',
        data_root='data/cifar100',
        split='train',
        transforms=[
            dict(type='RandomCrop', size=32, padding=4),
            dict(type='RandomHorizontalFlip'),
        ],
    ),
)
val_dataloader = dict(
    batch_size=256,
    num_workers=2,
    dataset=dict(type='CIFAR100Dataset', data_root='data/cifar100', split='test'),
)
test_dataloader = dict(_base_.val_dataloader, **val_dataloader)
