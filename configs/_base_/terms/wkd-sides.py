# The distributions of the sides of boxes on the student's positives by the Wasserstein distance of
# order 1, in strides of the level, each place weighed by the teacher's score. Not in the paper, and
# its weight has not been searched.
loss_wkd_sides = dict(
    tap='box_distributions',
    places='positives',
    weigh_by='teacher',
    average='weights',
    loss=dict(type='BoxWassersteinLoss', order=1, loss_weight=1.0),
)
