# Method:   ReviewKD: all stages fused and compared at several resolutions
# For:      cnn
#
# Stages of its code: the pooled vector is the coarsest map, the teacher's maps are those before the
# activation. Weight and warm-up for resnet32x4 to resnet8x4.
distill = dict(
    loss_reviewkd=dict(
        tap='pyramid',
        modules=['stages', 'pool'],
        teacher_modules=['stages_before', 'pool'],
        connector=dict(type='ABFConnector', mid_channels=256, resize=True),
        loss=dict(type='ReviewKDLoss', loss_weight=5.0),
    ),
)
custom_hooks = [dict(type='TermScheduleHook', terms=['loss_reviewkd'], warm_up=20)]
