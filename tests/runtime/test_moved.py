"""Import paths of 0.1: every name is that of its new place, with one warning that names it."""

from __future__ import annotations

import sys
import warnings
from importlib import import_module

import pytest

DOORS = {
    'wkd_det.checkpoint': {
        'runtime.checkpoints': ['allow_mmengine_checkpoints', 'read_checkpoint'],
        'runtime.files': ['read_tensor', 'write_whole'],
        'runtime.state': ['load_strictly', 'weights_hash', 'weights_of'],
    },
    'wkd_det.interrelation': {
        'costs.build': ['METHODS', 'BuildOptions', 'build_interrelation'],
        'costs.features': ['ClassExamples', 'FeatureSource'],
        'costs.files': [
            'CostFile', 'check_suffix', 'read_cost_file', 'read_prototypes', 'write_cost_file',
        ],
        'costs.matrix': ['BACKGROUND'],
        'costs.sources': ['ClassifierCost', 'ConstantCost', 'FileCost', 'PrototypeCost'],
        'costs.statistics': ['ClassMoments', 'ClassSample'],
    },
    'wkd_det.visualization': {
        'inspection.attention': ['Scene', 'attention_grid'],
        'inspection.class_pictures': [
            'MAPS', 'class_map', 'dendrogram', 'heat_map', 'plot_interrelation',
        ],
        'inspection.network_pictures': [
            'class_correlation', 'class_discrepancy', 'correlation_difference', 'feature_scatter',
            'fit_linearly', 'plot_class_discrepancy', 'plot_transport_plan',
        ],
    },
}  # fmt: skip


@pytest.fixture(params=DOORS)
def door(request, monkeypatch):
    """The module of an old path, as if it had not been imported before."""
    monkeypatch.delitem(sys.modules, request.param, raising=False)
    with warnings.catch_warnings():
        warnings.simplefilter('error')  # the import alone warns of nothing
        module = import_module(request.param)
    yield module
    sys.modules.pop(request.param)


def test_every_name_is_lent_with_one_warning(door):
    homes = {
        name: f'wkd_det.{home}' for home, names in DOORS[door.__name__].items() for name in names
    }
    assert sorted(door.__all__) == sorted(homes)
    for name, home in homes.items():
        message = (
            f'{door.__name__}.{name} has moved to {home}.{name}; the old path works until '
            'wkd_det 0.3'
        )
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter('always')
            values = [getattr(door, name) for _ in range(2)]
        ours = [one for one in caught if one.category is FutureWarning]
        assert [str(one.message) for one in ours] == [message]
        assert ours[0].filename == __file__  # it points to who asked
        assert values[0] is values[1] is getattr(import_module(home), name)


def test_other_names_are_unknown(door):
    with pytest.raises(AttributeError, match=f"^module '{door.__name__}' has no attribute 'os'$"):
        door.os  # noqa: B018  raises
