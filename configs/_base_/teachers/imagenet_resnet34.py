# Teacher resnet34 of ImageNet, with the weights that torchvision publishes.
teacher = dict(
    config='configs/classification/imagenet/baseline/resnet34.py',
    checkpoint='torchvision://ResNet34_Weights.IMAGENET1K_V1',
)
