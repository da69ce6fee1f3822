"""The distilled detectors that are registered; ``distilled`` makes any other."""

from mmdet.models.detectors import (
    ATSS,
    FCOS,
    GFL,
    CascadeRCNN,
    FasterRCNN,
    MaskRCNN,
    RetinaNet,
)

from wkd_det.detection.distilled import distilled

DistilledFasterRCNN = distilled(FasterRCNN)
DistilledMaskRCNN = distilled(MaskRCNN)
DistilledCascadeRCNN = distilled(CascadeRCNN)
DistilledRetinaNet = distilled(RetinaNet)
DistilledFCOS = distilled(FCOS)
DistilledATSS = distilled(ATSS)
DistilledGFL = distilled(GFL)
