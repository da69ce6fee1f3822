# Method:   WKD-L + WKD-F + boxes: WKD-L, WKD-F and the boxes of the target class
# For:      two-stage
#
# The paper's optional box term: squared distance of the offsets and 20 times the DIoU loss of the
# boxes that both heads give the student's proposals for their target class.
_base_ = ['../terms/wkd-l.py', '../terms/wkd-f.py']

distill = dict(
    loss_wkd_l=_base_.pop('loss_wkd_l'),
    loss_wkd_f=_base_.pop('loss_wkd_f'),
    loss_wkd_box=dict(
        tap='roi_boxes', loss=dict(type='BoxLoss', diou_weight=20.0, loss_weight=1.0)
    ),
)
