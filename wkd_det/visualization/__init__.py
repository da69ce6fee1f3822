"""Pictures."""

from wkd_det.visualization.paint_detections import paint_detections

__all__ = ['paint_detections']
