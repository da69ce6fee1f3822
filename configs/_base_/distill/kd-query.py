# Method:   KD-query: divergence of class probabilities and a distance of boxes on pairs of queries
# For:      query
#
# What WKD-L-query is measured against: the same pairs and the same boxes, with the binary
# divergence of each class. DETRDistill (ICCV 2023) pairs queries by the teacher's predictions too;
# KD-DETR (CVPR 2024) runs the student once more on the teacher's queries, which is not done here.
# Its weights have not been searched.
__pairs = dict(pair_by='teacher', top=100, layers='all', weigh_by='teacher')

distill = dict(
    loss_kd_query=dict(
        __pairs,
        tap='query_logits',
        loss=dict(type='SigmoidKDLoss', temperature=1.0, loss_weight=1.0),
    ),
    loss_box_query=dict(
        __pairs,
        tap='query_boxes',
        loss=dict(type='QueryBoxLoss', l1_weight=5.0, giou_weight=2.0, loss_weight=1.0),
    ),
)
