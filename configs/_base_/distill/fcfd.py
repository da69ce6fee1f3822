# Method:   FCFD: FPN maps, and what each network's head makes of the other's
# For:      two-stage
#
# FCFD: the FPN's maps behind a bridge (3 x 3 convolution and BN, one a level), and what both heads
# make of each other's: `st` are the student's features through the teacher's head, `ts` the
# teacher's through the student's. All published weights are 1. Its code sums the mean squares of
# the five levels, FitNetLoss takes the mean over levels of their halves: hence 10.
__bridge = dict(type='ConvConnector', kernel_size=3)
__logits = dict(type='KDLoss', temperature=1.0, loss_weight=1.0)
__offsets = dict(type='OffsetLoss', loss_weight=1.0)

distill = dict(
    loss_fcfd_app=dict(
        tap='neck', connector=__bridge, loss=dict(type='FitNetLoss', loss_weight=10.0)
    ),
    loss_fcfd_kd=dict(tap='roi_logits', loss=__logits),
    loss_fcfd_box=dict(tap='roi_offsets', loss=__offsets),
    loss_fcfd_kd_st=dict(
        tap='crossed_logits', head='teacher', connector='loss_fcfd_app', loss=__logits
    ),
    loss_fcfd_box_st=dict(
        tap='crossed_offsets', head='teacher', connector='loss_fcfd_app', loss=__offsets
    ),
    loss_fcfd_kd_ts=dict(tap='crossed_logits', head='student', connector=__bridge, loss=__logits),
    loss_fcfd_box_ts=dict(
        tap='crossed_offsets', head='student', connector='loss_fcfd_kd_ts', loss=__offsets
    ),
)
