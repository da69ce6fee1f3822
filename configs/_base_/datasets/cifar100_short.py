# CIFAR-100 in memory, augmented a batch at a time, for short trainings on a CPU. 50 training images of
# each class are held out: split='val' of the validation data is for choosing settings.
_base_ = './cifar100.py'

train_dataloader = dict(
    batch_size=128,
    num_workers=0,
    persistent_workers=False,
    pin_memory=False,
    drop_last=True,
    dataset=dict(batched=True, val_per_class=50),
)
val_dataloader = dict(
    batch_size=500,
    num_workers=0,
    persistent_workers=False,
    pin_memory=False,
    dataset=dict(batched=True, val_per_class=50),
)
test_dataloader = val_dataloader
val_evaluator = [
    dict(type='TopKAccuracy', topk=(1, 5)),
    dict(type='Calibration'),
    dict(type='GroupMistakes', grouping='cifar100'),
]
test_evaluator = val_evaluator
