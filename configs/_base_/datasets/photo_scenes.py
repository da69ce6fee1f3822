# Photo scenes: photographs of Tiny ImageNet in mosaics of 128 x 96 pixels, COCO format, ten classes.
# Made by: python tools/make_photo_scenes.py data/tiny-imagenet-200
#
# Validation is on val. A search over settings belongs on search, whose photographs no other split
# has: change `search` to `val` in what val_dataloader and val_evaluator name, or the other way.
data_root = 'data/photo_scenes/'
metainfo = dict(
    classes=(
        'dog', 'feline', 'ungulate', 'insect', 'clothing', 'motor_vehicle', 'container',
        'structure', 'produce', 'equipment',
    )
)  # fmt: skip

# Scenes have the size that they are trained at. Resize is in the tests for the scale factor it notes.
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='RandomFlip', prob=0.5),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'flip', 'flip_direction'),
    ),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(128, 96), keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'),
    ),
]

# A scene is read in a twentieth of a millisecond: workers would take longer to send it.
train_dataloader = dict(
    batch_size=16,
    num_workers=0,
    persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='CocoDataset',
        data_root=data_root,
        metainfo=metainfo,
        ann_file='annotations/groups_train.json',
        data_prefix=dict(img='train/'),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=32,
    num_workers=0,
    persistent_workers=False,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='CocoDataset',
        data_root=data_root,
        metainfo=metainfo,
        ann_file='annotations/groups_val.json',
        data_prefix=dict(img='val/'),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(
    type='CocoMetric', ann_file=data_root + 'annotations/groups_val.json', metric='bbox'
)
test_evaluator = val_evaluator
