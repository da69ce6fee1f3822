# Plain student of the digits: the baseline of every distilled one, equal in steps.
#
# Method:   plain training, no teacher
# Pair:     none; resnet8 of the CIFAR networks
# Needs:    scikit-learn; the digits come with it
# Command:  python tools/train.py configs/classification/digits/baseline/resnet8.py
# Expected: 83.3 +- 1.3 top-1 (mean of five seeds)
_base_ = [
    '../../../_base_/datasets/digits.py',
    '../../../_base_/schedules/digits.py',
]

model = dict(
    type='Classifier',
    network=dict(type='CifarModel', name='resnet8', num_classes=10),
    data_preprocessor=dict(type='ImagePreprocessor', mean=[77.0] * 3, std=[80.0] * 3),
)
work_dir = 'work_dirs/digits/resnet8'
