# WKD-L + WKD-F on images with and without labels, resnet20 to resnet8 on the digits of scikit-learn.
#
# Method:   WKD-L + WKD-F, images without labels: WKD-L in its joint form, which needs none
# Pair:     resnet20 to resnet8
# Needs:    scikit-learn; the digits come with it; the trained teacher
#           (configs/classification/digits/baseline/resnet20_teacher.py)
# Command:  python tools/train.py configs/classification/digits/wkd-lf_digits_unlabelled.py
# Expected: not yet run
#
# Ten digits a class with their labels, and all of the training split without: half of each batch.
_base_ = 'wkd-lf_digits.py'

__labelled = _base_.train_dataloader.dataset
train_dataloader = dict(
    sampler=dict(_delete_=True, type='SourceSampler', batch_size=40, source_ratio=[1, 1]),
    dataset=dict(
        _delete_=True,
        type='ConcatDataset',
        datasets=[
            dict(__labelled),
            dict(type='WithoutLabels', dataset=dict(__labelled, per_class=None)),
        ],
    ),
)

model = dict(
    data_preprocessor=dict(allow_unlabelled=True),
    distill=dict(loss_wkd_l=dict(loss=dict(separated=False))),
)
