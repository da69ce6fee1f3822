# The six arms, and a plain student of equal compute: of as many epochs as a spec says, in each of
# which the images are cropped anew, and searched at its own length. A step with the live teacher
# costs three plain ones.
_base_ = './cifar100_arms.py'

methods = dict(
    plain_equal=dict(
        title='plain student, equal compute',
        config='configs/classification/cifar100/baseline/wrn_10_2_short.py',
        overrides={
            'model.ce_weight': 1.0,
            'train_dataloader.dataset.augmentations': None,
        },
        weight='model.ce_weight',
    ),
)
