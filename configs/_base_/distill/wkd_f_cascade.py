# WKD-F between two Cascade R-CNNs, on the RoIs of the first stage: those of a Faster R-CNN. The
# maps are the same in all stages.
_base_ = 'wkd_f.py'

loss_wkd_f = dict(stage=0)
