# What the studies on CIFAR-100 share: the teacher (trained once, kept in float16 and committed),
# what it says of twelve fixed augmentations of each training image (its logits and the map that it
# pools, in float16, 4.5 GB), the figures and the search.
#
# Every arm draws from the same augmentations. Settings are searched on 50 images a class that
# neither teacher nor students are trained on; the tables are of the test images.
commit = '759603510d7f4cb4003b269231fe45590c1d3e91'
metric = 'accuracy/top1'
digits = 2
metrics = [
    dict(key='groups/accuracy', title='superclass', digits=2),
    dict(key='groups/distance', title='distance of mistakes', higher=False, digits=3),
    dict(key='probabilities/nll', title='NLL', higher=False, digits=3),
    dict(key='probabilities/ece', title='ECE', higher=False, digits=2),
]
overrides = {'train_dataloader.dataset.augmentations': 12}
prepare = [
    dict(
        name='teacher',
        config='configs/classification/cifar100/baseline/wrn_16_4_short.py',
        work_dir='work_dirs/studies/cifar100/teacher',
        keep='studies/results/cifar100/teacher.pth',
        overrides={'train_dataloader.dataset.augmentations': None},
    ),
    dict(
        name='stored teacher',
        command=[
            'python',
            'tools/store_teacher.py',
            'configs/classification/cifar100/kd_wrn_16_4-to-wrn_10_2_short.py',
            '--half',
            '--cfg-options',
            'train_dataloader.dataset.augmentations=12',
            'train_dataloader.dataset.stored_teacher=data/teacher/cifar100_wrn_16_4',
            'train_dataloader.dataset.stored_maps=[pool:input]',
            'model.teacher.checkpoint=studies/results/cifar100/teacher.pth',
        ],
        makes='data/teacher/cifar100_wrn_16_4/pool-input_011.safetensors',
        needs=['studies/results/cifar100/teacher.pth'],
    ),
]
references = ['plain', 'kd']
search = dict(
    seeds=[101],
    overrides={'val_dataloader.dataset.split': 'val'},
    stages=[
        dict(keys='weight', factors=[0.3, 1, 3]),
        dict(keys=['optim_wrapper.optimizer.lr'], factors=[0.5, 1, 2]),
    ],
)
