# Student: ResNet-18, ImageNet weights of torchvision; goes into `model` of an R-50 FPN config.
student = dict(
    backbone=dict(depth=18, init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet18')),
    neck=dict(in_channels=[64, 128, 256, 512]),
)
