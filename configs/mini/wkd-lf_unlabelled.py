# WKD-L + WKD-F on images with and without labels, mini data set, 500 steps.
#
# Method:   WKD-L + WKD-F, images without labels: WKD-L in its joint form, which needs none
# Pair:     ResNet-34 of 32 base channels to ResNet-18 of 16
# Needs:    data/mini_digits (python tools/make_mini_dataset.py) and the trained teacher (python
#           tools/train.py configs/mini/faster-rcnn_teacher.py)
# Command:  python tools/train.py configs/mini/wkd-lf_unlabelled.py
# Expected: not yet run
#
# A tenth of the scenes with their labels, and all of them as a plain folder of images: half of each
# batch. The loss of the task sees the former alone.
_base_ = 'wkd-lf.py'

__labelled = _base_.train_dataloader.dataset
train_dataloader = dict(
    sampler=dict(_delete_=True, type='SourceSampler', batch_size=16, source_ratio=[1, 1]),
    dataset=dict(
        _delete_=True,
        type='ConcatDataset',
        ignore_keys=['classes', 'palette'],
        datasets=[
            dict(__labelled, indices=100),
            dict(
                type='UnlabelledDataset',
                data_root=__labelled.data_root,
                data_prefix=dict(img='train/'),
                pipeline=__labelled.pipeline,
            ),
        ],
    ),
)

model = dict(unlabelled=dict(), distill=dict(loss_wkd_l=dict(loss=dict(separated=False))))
