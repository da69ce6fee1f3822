"""Registered connectors: the student's width and size to the teacher's."""

from wkd_det.connectors.abf_connector import ABFConnector
from wkd_det.connectors.bottleneck_connector import BottleneckConnector
from wkd_det.connectors.conv_connector import ConvConnector
from wkd_det.connectors.identity_connector import IdentityConnector
from wkd_det.connectors.transposed_conv_connector import TransposedConvConnector

__all__ = [
    'ABFConnector',
    'BottleneckConnector',
    'ConvConnector',
    'IdentityConnector',
    'TransposedConvConnector',
]
