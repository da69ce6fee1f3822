"""Families of MMDetection: each that takes a plain step takes a distilled one, as the page says."""

import json
import os
import signal
from pathlib import Path

import pytest

import families
from family_sweep.configs import CONFIGS, FAMILIES, model_of, path_of
from family_sweep.step import KINDS
from family_sweep.table import BEGIN, tables, with_tables

DOCS = Path(__file__).resolve().parents[2] / 'docs'
RESULTS = json.loads((DOCS / 'families.json').read_text(encoding='utf-8'))
# Folders that ship no detector of their own: trackers, networks that recognise persons or lanes,
# data sets and recipes for the detectors of other folders.
NO_FAMILIES = {
    '_base_', 'albu_example', 'bytetrack', 'cityscapes', 'clrnet', 'common', 'deepfashion',
    'deepsort', 'dsdl', 'instaboost', 'legacy_1.x', 'mask2former_vis', 'masktrack_rcnn', 'misc',
    'objects365', 'ocsort', 'openimages', 'pascal_voc', 'qdtrack', 'reid', 'resnet_strikes_back',
    'scratch', 'selfsup_pretrain', 'simple_copy_paste', 'sort', 'strong_baselines', 'strongsort',
    'v3det', 'wider_face',
}  # fmt: skip


# What once failed, or could be distilled by maps alone.
MENDED = {
    'centernet', 'cornernet', 'crowddet', 'faster_rcnn, C4', 'faster_rcnn, DC5', 'htc',
    'mask2former', 'maskformer', 'queryinst', 'scnet', 'seesaw_loss', 'sparse_rcnn', 'tridentnet',
}  # fmt: skip


def kept_by(results):
    """What must be the same wherever it is swept."""
    return {
        name: {key: one.get(key) for key in ('config', 'place', 'unchanged', *KINDS)}
        for name, one in results.items()
        if one.get('plain') == 'ok'
    }


def check(results):
    """Every family that trains plain is taught by its maps; one sentence says what is refused."""
    for name, one in results.items():
        assert 'failed' not in one, (name, one)
        if one['plain'] != 'ok':
            continue
        assert one['maps'] == 'ok', name
        assert one['unchanged'], name
        for kind in KINDS:
            assert one[kind] is None or one[kind] == 'ok' or ':' in one[kind], (name, kind)


@pytest.mark.slow
def test_every_family(tmp_path):
    results = families.sweep(list(FAMILIES), tmp_path / 'families.json')
    check(results)
    recorded, found = kept_by(RESULTS), kept_by(results)
    # What this machine cannot train plain (a package, an operator) says nothing.
    assert {name: recorded[name] for name in found if name in recorded} == {
        name: one for name, one in found.items() if name in recorded
    }


def test_the_recorded_results_keep_the_promise():
    check(RESULTS)
    assert list(RESULTS) == list(FAMILIES)
    assert all(RESULTS[name]['plain'] == 'ok' for name in MENDED)


def test_the_page_has_the_recorded_results():
    page = (DOCS / 'detectors.md').read_text(encoding='utf-8')
    assert with_tables(page, RESULTS) == page, 'python tools/families.py table ...'
    assert BEGIN in page


def test_every_folder_of_detectors_is_a_family():
    folders = {path.name for path in CONFIGS.iterdir() if path.is_dir()}
    assert folders - NO_FAMILIES == {name.partition(',')[0] for name in FAMILIES}
    assert all(path_of(name).is_file() for name in FAMILIES)


def test_configs_fetch_nothing():
    def texts(section):
        for value in section.values() if isinstance(section, dict) else section:
            if isinstance(value, (dict, list, tuple)):
                yield from texts(value)
            elif isinstance(value, str):
                yield value

    for name in ('faster_rcnn', 'ld', 'swin', 'lad'):
        found = list(texts(model_of(name)))
        assert not [one for one in found if '://' in one], name


def test_tables_say_what_is_refused_and_why():
    ok = dict(detector='A', plain='ok', place='neck', maps='ok', roi_logits=None, roi_feats=None)
    results = dict(
        one=ok,
        two=dict(ok, place='backbone', roi_logits='no | such: use that', roi_feats='ok'),
        three=dict(ok, roi_logits='no | such: use that', roi_feats='other: so'),
        four=dict(detector='B', plain="ModuleNotFoundError: No module named 'transformers'"),
        five=dict(detector='C', plain='KeyError: a | b'),
    )
    assert tables(results).splitlines() == [
        '| family | detector | maps of the | RoI logits | RoI features |',
        '|---|---|---|---|---|',
        '| one | A | neck |  |  |',
        '| two | A | backbone | no (1) | yes |',
        '| three | A | neck | no (1) | no (2) |',
        '',
        '1. no | such: use that',
        '2. other: so',
        '',
        '| no plain step here | detector | why |',
        '|---|---|---|',
        '| four | B | needs the package `transformers` |',
        '| five | C | KeyError: a \\| b |',
    ]


def test_a_family_that_dies_does_not_end_the_sweep(monkeypatch, tmp_path):
    outcomes = dict(
        atss=lambda: os.kill(os.getpid(), signal.SIGKILL),
        fcos=lambda: 1 / 0,
        gfl=lambda: dict(plain='ok'),
    )
    monkeypatch.setattr(families, 'run_family', lambda name: outcomes[name]())
    out = tmp_path / 'families.json'
    results = families.sweep(['gfl', 'fcos', 'atss'], out)
    assert results['atss']['failed'] == 'it ended without a result'
    assert results['fcos']['failed'] == 'ZeroDivisionError: division by zero'
    assert results['gfl'] == dict(plain='ok')
    assert list(json.loads(out.read_text())) == ['atss', 'fcos', 'gfl']
    monkeypatch.setattr(families, 'run_family', None)  # all are there
    assert families.sweep(['gfl', 'fcos'], out, missing=True).keys() == results.keys()
