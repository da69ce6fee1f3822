# Method:   KD: Kullback-Leibler divergence of the class probabilities
# For:      cnn, cnn-transformer, self
#
# Weights and temperature of the CRD benchmark on CIFAR-100: a tenth of the cross entropy.
student = dict(ce_weight=0.1)
distill = dict(
    loss_kd=dict(tap='logits', loss=dict(type='KDLoss', temperature=4.0, loss_weight=0.9)),
)
