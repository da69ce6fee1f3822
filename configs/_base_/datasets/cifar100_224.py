# CIFAR-100 enlarged to 224 x 224 pixels, for networks made for ImageNet; batches of 512.
_base_ = './cifar100.py'

train_dataloader = dict(
    batch_size=512,
    dataset=dict(
        transforms=[
            dict(type='RandomCrop', size=32, padding=4),
            dict(type='RandomHorizontalFlip'),
            dict(type='Resize', size=224, interpolation='bicubic'),
        ],
    ),
)
val_dataloader = dict(
    dataset=dict(transforms=[dict(type='Resize', size=224, interpolation='bicubic')])
)
test_dataloader = val_dataloader
