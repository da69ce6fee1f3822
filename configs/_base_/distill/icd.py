# Method:   ICD: imitation of FPN maps where a decoder attends to the objects
# For:      two-stage, cascade, from-cascade, one-stage, gfl, anchor-free
#
# ICD: imitation of the pyramid where a decoder, asked for each object, attends. Sizes and the
# weight 3 are the published ones for Faster R-CNN.
distill = dict(
    loss_icd=dict(
        tap='instances',
        loss=dict(
            type='ICDLoss',
            width=256,
            num_heads=8,
            invented_ratio=5.0,
            max_instances=100,
            jitter=0.3,
            loss_weight=3.0,
            auxiliary_weight=1.0,
        ),
    ),
)

# The decoder has to know where to look: the published code trains it alone for 1000 iterations.
custom_hooks = [
    dict(type='TermScheduleHook', terms=['loss_icd.loss_weight'], by_epoch=False, warm_up=1000)
]
