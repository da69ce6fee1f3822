# 300 epochs of AdamW in batches of 512 with cosine decay: Transformer students.
_base_ = './cifar100_300e_sgd.py'

optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=2.5e-4, weight_decay=2e-3),
)
