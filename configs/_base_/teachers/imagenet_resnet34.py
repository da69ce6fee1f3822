# Teacher resnet34 of ImageNet, with the weights that torchvision publishes.
teacher = dict(
    config=dict(
        type='Classifier',
        network=dict(type='TorchvisionModel', name='resnet34', num_classes=1000),
        data_preprocessor=dict(
            type='ImagePreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]
        ),
    ),
    checkpoint='torchvision://ResNet34_Weights.IMAGENET1K_V1',
)
