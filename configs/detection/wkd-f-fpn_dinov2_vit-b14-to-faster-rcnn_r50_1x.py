# WKD-F on the FPN, DINOv2 ViT-B/14 to Faster R-CNN R-50 with FPN, COCO, 1x (12 epochs).
#
# Method:   WKD-F on the FPN: Gaussian Wasserstein distance on one level
# Pair:     DINOv2 ViT-B/14 with registers, without labels (timm) to P4 of Faster R-CNN R-50
# Needs:    COCO 2017 in data/coco; timm; the weights of the teacher and of the backbone are
#           downloaded
# Command:  bash tools/dist_train.sh \
#     configs/detection/wkd-f-fpn_dinov2_vit-b14-to-faster-rcnn_r50_1x.py 8
# Expected: not yet run
_base_ = [
    '../_base_/pairs/dinov2_vit-b14-to-faster-rcnn_r50_1x.py',
    '../_base_/distill/wkd-f-fpn.py',
]

model = dict(distill=_base_.pop('distill') | _base_.pop('settings').get('wkd-f-fpn', {}))
