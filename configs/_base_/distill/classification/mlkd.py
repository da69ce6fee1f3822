# Method:   MLKD: probabilities and their relations over classes and images, in two views
# For:      cnn, cnn-transformer
#
# Temperatures and weights of its code. The cross entropy is that of both views.
student = dict(ce_weight=0.1)
train_dataset = dict(strong_transforms=[dict(type='RandAugment', num_ops=2, magnitude=10)])
distill = dict(
    loss_mlkd=dict(tap='logits', loss=dict(type='MLKDLoss', temperature=4.0, loss_weight=0.9)),
)
