# Method:   WKD-L-query: WKD-L and a distance of boxes on pairs of queries
# For:      query
#
# The 100 queries of the teacher's that it is surest of, in each image and decoder layer, paired
# with the student's by the student's own assigner and weighed by the teacher's score: WKD-L between
# classes and background, and the box part of DETR (weights 5 and 2) with the teacher's boxes. Not
# in the paper, which has no queries; its weights have not been searched.
__pairs = dict(pair_by='teacher', top=100, layers='all', weigh_by='teacher')

distill = dict(
    loss_wkd_l_query=dict(
        __pairs,
        tap='query_logits',
        loss=dict(
            type='WKDSigmoidLoss',
            cost=dict(type='ClassifierCost'),
            temperature=1.0,
            sharpness=2.0,
            loss_weight=1.0,
        ),
    ),
    loss_box_query=dict(
        __pairs,
        tap='query_boxes',
        loss=dict(type='QueryBoxLoss', l1_weight=5.0, giou_weight=2.0, loss_weight=1.0),
    ),
)
