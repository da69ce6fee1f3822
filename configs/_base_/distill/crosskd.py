# Method:   CrossKD: the student's features through the teacher's head, classes and boxes
# For:      gfl
#
# CrossKD for GFL as in its authors' code: features behind the third of four convolutions, all
# places. Classes: quality focal loss with beta 1 and weight 1, divided by the number of the
# student's positives. Boxes: divergence of the sides at temperature 1, weight 3, and GIoU of the
# expected boxes, weight 2, both weighed by the teacher's score. Statistics of the features leave
# padding out here.
__boxes = dict(tap='crossed_box_distributions', depth=3, places='all')

distill = dict(
    loss_crosskd_cls=dict(
        tap='crossed_dense_logits',
        depth=3,
        places='all',
        average='positives',
        loss=dict(type='QualityFocalKDLoss', beta=1.0, loss_weight=1.0),
    ),
    loss_crosskd_reg=dict(
        __boxes, weigh_by='teacher', loss=dict(type='LDLoss', temperature=1.0, loss_weight=3.0)
    ),
    loss_crosskd_giou=dict(
        __boxes, weigh_by='teacher', loss=dict(type='BoxGIoULoss', loss_weight=2.0)
    ),
)
