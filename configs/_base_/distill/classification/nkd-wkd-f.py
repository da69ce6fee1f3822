# Method:   NKD + WKD-F: NKD on the logits and WKD-F on the last feature map
# For:      cnn, cnn-transformer, self
# Settings: wkd-f
#
# Each part has the weights that it has alone.
_base_ = 'wkd-f.py'

distill = dict(
    loss_nkd=dict(tap='logits', loss=dict(type='NKDLoss', temperature=3.0, gamma=3.5)),
)
