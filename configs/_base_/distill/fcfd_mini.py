# FCFD for the mini data set: its FPN has four levels, hence 8 in place of 10.
_base_ = 'fcfd.py'

fcfd = dict(loss_fcfd_app=dict(loss=dict(loss_weight=8.0)))
