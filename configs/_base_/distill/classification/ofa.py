# Method:   OFA: branches of class logits from every stage
# For:      cnn, cnn-transformer
#
# All weights are 1. A pair says how wide the classified features are where the teacher's are wider.
__logits = dict(type='OFALoss', eps=1.0, temperature=1.0)
distill = dict(
    loss_ofa=dict(tap='logits', loss=__logits),
    loss_ofa_branches=dict(
        tap='branch', modules='stages', connector=dict(type='OFABranch'), loss=__logits
    ),
)
