# NST for the mini data set, whose teacher has a wider FPN: a 1 x 1 convolution in between.
_base_ = 'nst.py'

loss_nst = dict(connector=dict(type='ConvConnector', kernel_size=1, norm_cfg=None))
