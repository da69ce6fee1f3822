# WKD-L + WKD-F on COCO with and without labels, Faster R-CNN with FPN, 180k iterations.
#
# Method:   WKD-L + WKD-F, images without labels: WKD-L in its joint form, which needs none
# Pair:     Faster R-CNN R-101 FPN (3x, 41.8 box AP published by MMDetection) to R-18
# Needs:    COCO 2017 in data/coco, with unlabeled2017 and annotations/image_info_unlabeled2017.json;
#           the weights of the teacher and of the backbone are downloaded
# Command:  bash tools/dist_train.sh \
#     configs/detection/wkd-lf_faster-rcnn_r101-to-r18_180k_unlabeled2017.py 4
# Expected: not yet run
#
# As many labelled images a step as in the config without such images, and as many again of
# unlabeled2017; images of a batch lie or stand, as MMDetection groups them.
_base_ = 'wkd-lf_faster-rcnn_r101-to-r18_180k.py'

__labelled = _base_.train_dataloader.dataset
__batch_size = 2 * _base_.train_dataloader.batch_size
train_dataloader = dict(
    batch_size=__batch_size,
    sampler=dict(
        _delete_=True,
        type='GroupMultiSourceSampler',
        batch_size=__batch_size,
        source_ratio=[1, 1],
    ),
    batch_sampler=None,
    dataset=dict(
        _delete_=True,
        type='ConcatDataset',
        ignore_keys=['classes', 'palette'],
        datasets=[
            dict(__labelled),
            dict(
                type='UnlabelledDataset',
                data_root=__labelled.data_root,
                ann_file='annotations/image_info_unlabeled2017.json',
                data_prefix=dict(img='unlabeled2017/'),
                pipeline=__labelled.pipeline,
            ),
        ],
    ),
)

model = dict(unlabelled=dict(), distill=dict(loss_wkd_l=dict(loss=dict(separated=False))))
