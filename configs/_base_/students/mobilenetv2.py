# Student: MobileNetV2, ImageNet weights in MMDetection's own layout (torchvision's keys do not
# fit its MobileNetV2); goes into `model` of an R-50 FPN config.
student = dict(
    backbone=dict(
        _delete_=True,
        type='MobileNetV2',
        # Strides 4, 8, 16 and 32; the last one is the 1280-channel layer. Stopping at the
        # 320-channel stage before it would leave parameters without gradient, which
        # distributed training refuses.
        out_indices=(1, 2, 4, 7),
        norm_eval=True,  # two images a GPU are too few for batch statistics
        init_cfg=dict(type='Pretrained', checkpoint='open-mmlab://mmdet/mobilenet_v2'),
    ),
    neck=dict(in_channels=[24, 32, 96, 1280]),
)
