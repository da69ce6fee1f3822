# A classifier of images normalised as ImageNet's; the network is named by the config.
model = dict(
    type='Classifier',
    data_preprocessor=dict(
        type='ImagePreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]
    ),
)
