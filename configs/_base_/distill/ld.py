# Method:   LD: divergence of the distributions of the sides of boxes
# For:      gfl
#
# LD on the student's positives, as MMDetection's LDHead has it: temperature 10, each place weighed
# by the student's score, weight 0.25. Its loss is a sum over the batch of a process, 2 images in
# the published runs, and a mean over 17 bins; LDLoss is a mean over images and a sum over bins:
# hence 0.25 x 2 / 17.
distill = dict(
    loss_ld=dict(
        tap='box_distributions',
        places='positives',
        weigh_by='student',
        average='images',
        loss=dict(type='LDLoss', temperature=10.0, loss_weight=0.5 / 17),
    ),
)
