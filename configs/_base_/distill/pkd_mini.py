# PKD for the mini data set, whose teacher has a wider FPN: a 1 x 1 convolution in between.
_base_ = 'pkd.py'

loss_pkd = dict(connector=dict(type='ConvConnector', kernel_size=1, norm_cfg=None))
