# Teacher: generation 0 of the Born-Again ResNet-18, trained first.
teacher = dict(
    config='configs/classification/imagenet/wkd/born-again_gen0_resnet18.py',
    checkpoint='work_dirs/imagenet/born-again_gen0_resnet18/epoch_100.pth',
)
