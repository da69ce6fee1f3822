"""Registered connectors: the student's width and size to the teacher's."""

from wkd_det.connectors.bottleneck_connector import BottleneckConnector
from wkd_det.connectors.conv_connector import ConvConnector
from wkd_det.connectors.identity_connector import IdentityConnector

__all__ = ['BottleneckConnector', 'ConvConnector', 'IdentityConnector']
