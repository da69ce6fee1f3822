# The paper's optional box term: squared distance of the offsets and 20 times the DIoU loss of the
# boxes that both heads give the student's proposals for their target class.
loss_wkd_box = dict(tap='roi_boxes', loss=dict(type='BoxLoss', diou_weight=20.0, loss_weight=1.0))
