"""One config of each family of detectors that MMDetection ships, small enough to be tried."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mmdet
from mmengine.config import ConfigDict

from wkd_det.runtime.config import read_config

CONFIGS = Path(mmdet.__file__).parent / '.mim/configs'

FAMILIES = {
    'atss': 'atss_r50_fpn_1x_coco',
    'autoassign': 'autoassign_r50-caffe_fpn_1x_coco',
    'boxinst': 'boxinst_r50_fpn_ms-90k_coco',
    'carafe': 'faster-rcnn_r50_fpn-carafe_1x_coco',
    'cascade_rcnn': 'cascade-mask-rcnn_r50_fpn_1x_coco',
    'cascade_rpn': 'cascade-rpn_faster-rcnn_r50-caffe_fpn_1x_coco',
    'centernet': 'centernet_r18_8xb16-crop512-140e_coco',
    'centripetalnet': 'centripetalnet_hourglass104_16xb6-crop511-210e-mstest_coco',
    'condinst': 'condinst_r50_fpn_ms-poly-90k_coco_instance',
    'conditional_detr': 'conditional-detr_r50_8xb2-50e_coco',
    'convnext': 'mask-rcnn_convnext-t-p4-w7_fpn_amp-ms-crop-3x_coco',
    'cornernet': 'cornernet_hourglass104_8xb6-210e-mstest_coco',
    'crowddet': 'crowddet-rcnn_r50_fpn_8xb2-30e_crowdhuman',
    'dab_detr': 'dab-detr_r50_8xb2-50e_coco',
    'dcn': 'faster-rcnn_r50-dconv-c3-c5_fpn_1x_coco',
    'dcnv2': 'faster-rcnn_r50-mdconv-c3-c5_fpn_1x_coco',
    'ddod': 'ddod_r50_fpn_1x_coco',
    'ddq': 'ddq-detr-4scale_r50_8xb2-12e_coco',
    'deformable_detr': 'deformable-detr_r50_16xb2-50e_coco',
    'detectors': 'detectors_cascade-rcnn_r50_1x_coco',
    'detr': 'detr_r50_8xb2-150e_coco',
    'dino': 'dino-4scale_r50_8xb2-12e_coco',
    'double_heads': 'dh-faster-rcnn_r50_fpn_1x_coco',
    'dyhead': 'atss_r50_fpn_dyhead_1x_coco',
    'dynamic_rcnn': 'dynamic-rcnn_r50_fpn_1x_coco',
    'efficientnet': 'retinanet_effb3_fpn_8xb4-crop896-1x_coco',
    'empirical_attention': 'faster-rcnn_r50-attn1111_fpn_1x_coco',
    'fast_rcnn': 'fast-rcnn_r50_fpn_1x_coco',
    'faster_rcnn': 'faster-rcnn_r50_fpn_1x_coco',
    'faster_rcnn, C4': 'faster-rcnn_r50-caffe_c4-1x_coco',
    'faster_rcnn, DC5': 'faster-rcnn_r50-caffe-dc5_1x_coco',
    'fcos': 'fcos_r50-caffe_fpn_gn-head_1x_coco',
    'foveabox': 'fovea_r50_fpn_4xb4-1x_coco',
    'fpg': 'faster-rcnn_r50_fpg_crop640-50e_coco',
    'free_anchor': 'freeanchor_r50_fpn_1x_coco',
    'fsaf': 'fsaf_r50_fpn_1x_coco',
    'gcnet': 'mask-rcnn_r50-gcb-r16-c3-c5_fpn_1x_coco',
    'gfl': 'gfl_r50_fpn_1x_coco',
    'ghm': 'retinanet_r50_fpn_ghm-1x_coco',
    'glip': 'glip_atss_swin-t_a_fpn_dyhead_16xb2_ms-2x_funtune_coco',
    'gn': 'mask-rcnn_r50_fpn_gn-all_2x_coco',
    'gn+ws': 'faster-rcnn_r50_fpn_gn-ws-all_1x_coco',
    'grid_rcnn': 'grid-rcnn_r50_fpn_gn-head_2x_coco',
    'groie': 'faste-rcnn_r50_fpn_groie_1x_coco',
    'grounding_dino': 'grounding_dino_r50_scratch_8xb2_1x_coco',
    'guided_anchoring': 'ga-faster-rcnn_r50_fpn_1x_coco',
    'hrnet': 'faster-rcnn_hrnetv2p-w18-1x_coco',
    'htc': 'htc_r50_fpn_1x_coco',
    'lad': 'lad_r50-paa-r101_fpn_2xb8_coco_1x',
    'ld': 'ld_r18-gflv1-r101_fpn_1x_coco',
    'libra_rcnn': 'libra-faster-rcnn_r50_fpn_1x_coco',
    'lvis': 'mask-rcnn_r50_fpn_sample1e-3_ms-1x_lvis-v1',
    'mask2former': 'mask2former_r50_8xb2-lsj-50e_coco',
    'mask_rcnn': 'mask-rcnn_r50_fpn_1x_coco',
    'maskformer': 'maskformer_r50_ms-16xb1-75e_coco',
    'mm_grounding_dino': 'grounding_dino_swin-t_pretrain_obj365',
    'ms_rcnn': 'ms-rcnn_r50_fpn_1x_coco',
    'nas_fcos': 'nas-fcos_r50-caffe_fpn_nashead-gn-head_4xb4-1x_coco',
    'nas_fpn': 'retinanet_r50_nasfpn_crop640-50e_coco',
    'paa': 'paa_r50_fpn_1x_coco',
    'pafpn': 'faster-rcnn_r50_pafpn_1x_coco',
    'panoptic_fpn': 'panoptic-fpn_r50_fpn_1x_coco',
    'pisa': 'faster-rcnn_r50_fpn_pisa_1x_coco',
    'point_rend': 'point-rend_r50-caffe_fpn_ms-1x_coco',
    'pvt': 'retinanet_pvt-t_fpn_1x_coco',
    'queryinst': 'queryinst_r50_fpn_1x_coco',
    'regnet': 'faster-rcnn_regnetx-400MF_fpn_ms-3x_coco',
    'reppoints': 'reppoints-moment_r50_fpn_1x_coco',
    'res2net': 'faster-rcnn_res2net-101_fpn_2x_coco',
    'resnest': 'faster-rcnn_s50_fpn_syncbn-backbone+head_ms-range-1x_coco',
    'retinanet': 'retinanet_r50_fpn_1x_coco',
    'rpn': 'rpn_r50_fpn_1x_coco',
    'rtmdet': 'rtmdet_tiny_8xb32-300e_coco',
    'rtmdet, masks': 'rtmdet-ins_tiny_8xb32-300e_coco',
    'sabl': 'sabl-faster-rcnn_r50_fpn_1x_coco',
    'scnet': 'scnet_r50_fpn_1x_coco',
    'seesaw_loss': 'mask-rcnn_r50_fpn_seesaw-loss-normed-mask_random-ms-2x_lvis-v1',
    'soft_teacher': 'soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.01-coco',
    'solo': 'solo_r50_fpn_1x_coco',
    'solov2': 'solov2-light_r18_fpn_ms-3x_coco',
    'sparse_rcnn': 'sparse-rcnn_r50_fpn_1x_coco',
    'ssd': 'ssd300_coco',
    'swin': 'mask-rcnn_swin-t-p4-w7_fpn_1x_coco',
    'timm_example': 'retinanet_timm-tv-resnet50_fpn_1x_coco',
    'tood': 'tood_r50_fpn_1x_coco',
    'tridentnet': 'tridentnet_r50-caffe_1x_coco',
    'vfnet': 'vfnet_r50_fpn_1x_coco',
    'yolact': 'yolact_r50_1xb8-55e_coco',
    'yolo': 'yolov3_mobilenetv2_8xb24-320-300e_coco',
    'yolof': 'yolof_r50-c5_8xb8-1x_coco',
    'yolox': 'yolox_tiny_8xb8-300e_coco',
}
"""Config of each family by its folder among MMDetection's configs; what follows a comma is a
variant. Left out are folders of trackers and of networks that recognise persons (no detectors), and
those that hold data sets or recipes for the detectors of other folders."""


def path_of(family: str) -> Path:
    """Path of the config of a family.

    Raises:
        KeyError: If there is no such family.
    """
    return CONFIGS / family.partition(',')[0] / f'{FAMILIES[family]}.py'


def model_of(family: str) -> ConfigDict:
    """Model config of a family; nothing of it is downloaded, and there are few RoIs and queries.

    Depths and widths stay as they are.
    """
    model = read_config(path_of(family)).model
    _change(model)
    return model


_SAMPLES = dict(num=24, nms_pre=200, max_per_img=100, num_queries=100)
"""Numbers of RoIs, of proposals and of queries: at most so many."""


def _change(section: Any) -> None:
    """Take out, at any depth, what names weights to be fetched or resizes batches."""
    if isinstance(section, (list, tuple)):
        for one in section:
            _change(one)
    if not isinstance(section, dict):
        return
    for key, value in section.items():
        if key == 'init_cfg' and isinstance(value, dict) and 'checkpoint' in value:
            section[key] = None
        elif key in ('teacher_ckpt', 'pretrained'):
            section[key] = False if value is True else None
        elif key == 'teacher_config' and isinstance(value, str):
            section[key] = str(CONFIGS / value.removeprefix('configs/'))
        elif key == 'batch_augments':
            section[key] = None
        elif key in _SAMPLES and isinstance(value, int):
            section[key] = min(value, _SAMPLES[key])
        else:
            _change(value)
