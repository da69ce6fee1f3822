# Method:   FT: the last map translated into the paraphrase of the teacher's
# For:      cnn
#
# The second of two runs: start it from the checkpoint of ft-paraphraser, with load_from. Weight of
# the CRD benchmark.
distill = dict(
    loss_ft=dict(tap='last', same_size=False, loss=dict(type='FTLoss', loss_weight=200.0)),
)
