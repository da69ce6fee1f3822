# Pairs of detectors of one stage, whose pyramids start at P3: it is level 0.
settings = {'wkd-f-fpn': dict(loss_wkd_f_fpn=dict(levels=[0]))}
