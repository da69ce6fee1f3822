"""Table of contents: every name that a config may use, and the file that defines it.

``import wkd_det`` puts all of it into the registries of MMDetection and mmengine, so configs name
these types like MMDetection's own. A new loss, connector or network is a file and a line here.
Nothing of the package is imported before it is asked for.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from contextlib import nullcontext
from functools import cache, wraps
from importlib import import_module
from importlib.util import find_spec
from typing import Any

LOSSES = {
    'ABLoss': 'losses.ab',
    'ATLoss': 'losses.at',
    'BoxGIoULoss': 'losses.box_giou',
    'BoxLoss': 'losses.boxes',
    'BoxWassersteinLoss': 'losses.box_wasserstein',
    'CATKDLoss': 'losses.cat_kd',
    'CCLoss': 'losses.cc',
    'CRDLoss': 'losses.crd',
    'CTKDLoss': 'losses.ctkd',
    'DiffKDLogitLoss': 'losses.diffkd',
    'DiffKDLoss': 'losses.diffkd',
    'DISTLoss': 'losses.dist',
    'DKDLoss': 'losses.kd',
    'DPKLoss': 'losses.dpk',
    'FGFILoss': 'losses.fgfi',
    'FitNetLoss': 'losses.fitnet',
    'FSPLoss': 'losses.fsp',
    'FTLoss': 'losses.ft',
    'ICDLoss': 'losses.icd',
    'ICKDLoss': 'losses.ickd',
    'IPOTLoss': 'losses.ipot',
    'KDLoss': 'losses.kd',
    'LabelSmoothingLoss': 'losses.tfkd',
    'LDLoss': 'losses.ld',
    'MGDLoss': 'losses.mgd',
    'MLKDLoss': 'losses.mlkd',
    'NKDLoss': 'losses.nkd',
    'NSTLoss': 'losses.nst',
    'OFALoss': 'losses.ofa',
    'OFDLoss': 'losses.ofd',
    'OffsetLoss': 'losses.boxes',
    'PKDLoss': 'losses.pkd',
    'PKTLoss': 'losses.pkt',
    'QualityFocalKDLoss': 'losses.sigmoid_kd',
    'QueryBoxLoss': 'losses.query_boxes',
    'ReviewKDLoss': 'losses.reviewkd',
    'RKDLoss': 'losses.rkd',
    'SigmoidKDLoss': 'losses.sigmoid_kd',
    'SPLoss': 'losses.sp',
    'SRRLLoss': 'losses.srrl',
    'TfKDLoss': 'losses.tfkd',
    'TfKDSelfLoss': 'losses.tfkd',
    'TTMLoss': 'losses.ttm',
    'USKDLoss': 'losses.uskd',
    'VIDLoss': 'losses.vid',
    'WCoRDLoss': 'losses.wcord',
    'WKDFeatureLoss': 'losses.wkd_feature',
    'WKDLogitLoss': 'losses.wkd_logit',
    'WKDSigmoidLoss': 'losses.wkd_sigmoid',
    'WSLDLoss': 'losses.wsld',
    'WTTMLoss': 'losses.ttm',
    'ZipfLoss': 'losses.zipf',
}
CONNECTORS = {
    'ABFConnector': 'connectors',
    'BottleneckConnector': 'connectors',
    'BridgeConnector': 'classification.bridges',
    'ConvConnector': 'connectors',
    'IdentityConnector': 'connectors',
    'OFABranch': 'classification.branches',
    'RegressorConnector': 'connectors',
    'TransposedConvConnector': 'connectors',
}
COST_SOURCES = {
    'ClassifierCost': 'costs.sources',
    'ConstantCost': 'costs.sources',
    'FileCost': 'costs.sources',
    'GroupCost': 'costs.controls',
    'PowerCost': 'costs.contrast',
    'PrototypeCost': 'costs.sources',
    'ShuffledCost': 'costs.controls',
}
WEIGHTS = {'GradientShare': 'distillation.gradient_share'}
"""Types that may stand as the ``loss_weight`` of any loss in place of a number."""
CLASSIFIERS = {
    'CifarModel': 'classification.networks.zoo',
    'Classifier': 'classification.classifier',
    'DistilledClassifier': 'classification.distilled',
    'ImagePreprocessor': 'classification.data',
    'MobileNetV1': 'classification.networks.mobilenets',
    'PooledBackbone': 'classification.networks.pooled',
    'TimmModel': 'classification.networks.zoo',
    'TorchvisionModel': 'classification.networks.zoo',
    'WideResNet': 'classification.networks.resnets',
}
REGISTERED = {
    'MODELS': {**LOSSES, **CONNECTORS, **COST_SOURCES, **WEIGHTS, **CLASSIFIERS},
    'DATASETS': {
        'ArraysDataset': 'classification.arrays',
        'CIFAR100Dataset': 'classification.datasets',
        'DigitsDataset': 'classification.datasets',
        'ImageFolderDataset': 'classification.datasets',
        'ImageNetDataset': 'classification.datasets',
        'UnlabelledImagesDataset': 'classification.unlabelled',
        'WithoutLabels': 'classification.unlabelled',
    },
    'DATA_SAMPLERS': {'SourceSampler': 'runtime.source_sampler'},
    'FUNCTIONS': {'collate_images': 'classification.data'},
    'HOOKS': {
        'ChannelsLastHook': 'hooks.channels_last',
        'ExactCheckpointHook': 'hooks.exact_checkpoint',
        'GradientNormHook': 'hooks.gradient_norm',
        'ImageSizeHook': 'hooks.image_size',
        'MetricFileHook': 'hooks.metric_file',
        'SampleTableHook': 'hooks.sample_table',
        'TermScheduleHook': 'hooks.term_schedule',
    },
    'METRICS': {
        'Calibration': 'classification.calibration',
        'GroupMistakes': 'classification.mistakes',
        'TopKAccuracy': 'classification.accuracy',
    },
    'OPTIM_WRAPPERS': {'CPUAmpOptimWrapper': 'hooks.cpu_amp'},
}
"""Names by registry. What extends MMDetection is found with its own types: see ``register``."""

TEACHERS_OF_MAPS = {'TimmMaps': 'detection.timm_maps'}
"""Teachers of detectors that are no detectors."""

DETECTION_DATASETS = {'UnlabelledDataset': 'detection.unlabelled_data'}
"""Data sets of detectors."""

TAPS = {
    'backbone': 'detection.taps.maps:BackboneTap',
    'box_distributions': 'detection.taps.dense:BoxDistributionsTap',
    'crossed_box_distributions': 'detection.taps.crossed_dense:CrossedBoxDistributionsTap',
    'crossed_dense_logits': 'detection.taps.crossed_dense:CrossedDenseLogitsTap',
    'crossed_logits': 'detection.taps.crossed:CrossedLogitsTap',
    'crossed_offsets': 'detection.taps.crossed:CrossedOffsetsTap',
    'dense_logits': 'detection.taps.dense:DenseLogitsTap',
    'imitation': 'detection.taps.objects:ImitationTap',
    'instances': 'detection.taps.objects:InstanceTap',
    'memory': 'detection.taps.memory:MemoryTap',
    'neck': 'detection.taps.maps:NeckTap',
    'pyramid': 'detection.taps.maps:PyramidTap',
    'query_boxes': 'detection.taps.queries:QueryBoxesTap',
    'query_logits': 'detection.taps.queries:QueryLogitsTap',
    'roi_boxes': 'detection.taps.rois:RoIBoxesTap',
    'roi_feats': 'detection.taps.roi_features:RoIFeatsTap',
    'roi_logits': 'detection.taps.rois:RoILogitsTap',
    'roi_offsets': 'detection.taps.rois:RoIOffsetsTap',
}
"""Taps of detectors. The modules of detectors and classifiers have their own names."""

CLASSIFIER_TAPS = {
    'branch': 'classification.taps.branch:BranchTap',
    'class_activation': 'classification.taps.class_activation:ClassActivationTap',
    'crossed_features': 'classification.taps.crossed:CrossedFeaturesTap',
    'crossed_logits': 'classification.taps.crossed:CrossedLogitsTap',
    'logits': 'classification.taps.logits:LogitsTap',
    'pyramid': 'classification.taps.stages:StagePyramidTap',
    'stages': 'classification.taps.stages:StagesTap',
}
"""Taps of classifiers."""

RENAMED = {
    'HierarchicalContextLoss': 'ReviewKDLoss',
    'ImitationLoss': 'FGFILoss',
    'InstanceConditionalLoss': 'ICDLoss',
}
"""Types by the names they had before 0.2; these work until 0.3, with a warning."""

DETECTORS = 'wkd_det.detection.detectors'
EXTENDING = {
    'MODELS': (DETECTORS, 'wkd_det.detection.timm_maps'),
    'DATASETS': ('wkd_det.detection.unlabelled_data',),
}
"""Modules by registry whose types extend MMDetection's."""


def load(name: str, home: str) -> Any:
    """The object of a row: ``home`` is a module, or ``module:Object`` where the names differ."""
    module, _, attribute = home.partition(':')
    return getattr(import_module(f'wkd_det.{module}'), attribute or name)


@cache
def renamed(name: str, kind: str = 'MODELS') -> type:
    """The class of an old name: the new one, which warns when it is built."""
    new = RENAMED[name]
    cls = load(new, REGISTERED[kind][new])

    @wraps(cls.__init__)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        warnings.warn(
            f'{name} is now called {new}; the old name works until wkd_det 0.3',
            FutureWarning,
            stacklevel=2,
        )
        cls.__init__(self, *args, **kwargs)

    return type(name, (cls,), dict(__init__=init, __doc__=cls.__doc__, __module__=cls.__module__))


def register() -> None:
    """Put every name into the registries of mmengine and, where it is there, of MMDetection.

    All scopes fall back to mmengine's root, so classifiers need nothing of MMDetection. The
    distilled detectors and data sets of detectors subclass MMDetection's: their modules become
    places in which its registries look at their first use.
    """
    import mmengine.registry

    roots = [mmengine.registry]
    if find_spec('mmdet') is not None:
        roots.append(import_module('mmdet.registry'))
    for kind, homes in REGISTERED.items():
        classes = {name: load(name, home) for name, home in homes.items()}
        classes.update({name: renamed(name, kind) for name in RENAMED if RENAMED[name] in homes})
        for root in roots:
            registry = getattr(root, kind, None)  # MMDetection has no FUNCTIONS
            for name, cls in classes.items() if registry is not None else ():
                if registry.module_dict.get(name) is not cls:
                    registry.register_module(name=name, module=cls)
    _replace_amp(roots)
    _name_scope(roots[-1])
    for root in roots[1:]:
        for kind, places in EXTENDING.items():
            registry = getattr(root, kind)
            new = [place for place in places if place not in registry._locations]
            registry._locations += new
            for place in new if registry._imported else ():
                import_module(place)


def _name_scope(root: Any) -> None:
    """Let ``wkd_det`` be a scope, for bases such as ``wkd_det::mini/wkd-lf.py``.

    Its registries are empty: what they do not know is looked up in MMDetection's or mmengine's.
    """
    from mmengine.registry import Registry

    for parent in [value for value in vars(root).values() if isinstance(value, Registry)]:
        if 'wkd_det' not in parent.children:
            Registry(parent.name, parent=parent, scope='wkd_det', locations=[__name__])


def _replace_amp(roots: list[Any]) -> None:
    """Let ``AmpOptimWrapper`` mean the one for CPUs on a machine without an accelerator."""
    from mmengine.device import get_device

    if get_device() == 'cpu':
        for root in roots:
            cls = root.OPTIM_WRAPPERS.module_dict['CPUAmpOptimWrapper']
            root.OPTIM_WRAPPERS.register_module(name='AmpOptimWrapper', module=cls, force=True)


def find(name: str, kind: str = 'MODELS') -> Any:
    """The class of a name, or None if nobody knows it.

    Looked up among what mmengine's root registry holds, in this table, in the default scope and
    in MMDetection's registry: in this order, so that nothing of MMDetection is imported for a
    name of this package.
    """
    root = getattr(sys.modules.get('mmengine.registry'), kind, None)
    found = None if root is None else root.get(name)
    if found is None and name in REGISTERED[kind]:
        found = load(name, REGISTERED[kind][name])
    if found is None and RENAMED.get(name) in REGISTERED[kind]:
        found = renamed(name, kind)
    if found is None and root is not None:
        with root.switch_scope_and_registry(None) as scoped:
            found = scoped.get(name)
    if found is None and 'mmdet.registry' in sys.modules:
        registry = getattr(sys.modules['mmdet.registry'], kind, None)  # it has no FUNCTIONS
        found = None if registry is None else registry.get(name)
    return found


def known(kind: str = 'MODELS') -> dict[str, Any]:
    """Classes by name: those of this package and those of others that are registered."""
    classes = {name: load(name, home) for name, home in REGISTERED[kind].items()}
    for module in ('mmengine.registry', 'mmdet.registry'):
        registry = getattr(sys.modules.get(module), kind, None)
        if registry is not None:
            classes.update(registry.module_dict)
    return {name: cls for name, cls in classes.items() if name not in RENAMED}


def build(config: Mapping[str, Any], kind: str = 'MODELS') -> Any:
    """Build what a config with a ``type`` describes.

    Types, and those of its parts, are looked up in the scope that it names, if it does: configs
    with bases of another package do.

    Raises:
        KeyError: If ``type`` is missing or unknown.
        TypeError: If an argument is missing or unknown.
    """
    arguments = dict(config)
    if 'type' not in arguments:
        raise KeyError(f'type is missing in {arguments}')
    name = arguments.pop('type')
    scope = arguments.pop('_scope_', None)
    root = getattr(sys.modules.get('mmengine.registry'), kind, None)
    inside = nullcontext() if scope is None else root.switch_scope_and_registry(scope)
    with inside:
        cls = find(name, kind) if isinstance(name, str) else name
        if cls is None:
            raise KeyError(f'type must be a registered name, got {name!r}')
        return cls(**arguments)
