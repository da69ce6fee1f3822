# Teacher resnet50 of ImageNet, with the weights that torchvision publishes.
teacher = dict(
    config='configs/classification/imagenet/baseline/resnet50.py',
    checkpoint='torchvision://ResNet50_Weights.IMAGENET1K_V1',
)
