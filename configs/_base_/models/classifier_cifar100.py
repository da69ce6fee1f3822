# A classifier of CIFAR-100; the network is named by the config.
model = dict(
    type='Classifier',
    data_preprocessor=dict(
        type='ImagePreprocessor', mean=[129.3, 124.1, 112.4], std=[68.2, 65.4, 70.4]
    ),
)
