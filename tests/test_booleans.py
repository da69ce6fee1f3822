"""Boolean options of every constructor: a string such as 'no' is an error, not True."""

import ast
from importlib import import_module
from inspect import Parameter, signature
from pathlib import Path
from unittest import mock

import pytest

import wkd_det

PACKAGE = Path(wkd_det.__file__).parent
# Command lines give these of their flags, and the package itself those of the classes.
NOT_FROM_CONFIGS = ('experiments', 'testing')
INTERNAL = {
    'Mixture',
    'NoiseNetwork',
    'Recorded',
    'RoIPooler',
    'TeacherImages',
    'TeacherInput',
    'TransformerBlock',
}


def constructors():
    """Module, class and option of all constructors that take a boolean."""
    for path in sorted(PACKAGE.rglob('*.py')):
        parts = path.relative_to(PACKAGE).with_suffix('').parts
        if parts[0] in NOT_FROM_CONFIGS:
            continue
        for node in ast.parse(path.read_text()).body:
            if not isinstance(node, ast.ClassDef) or node.name.startswith('_'):
                continue
            for method in node.body:
                if isinstance(method, ast.FunctionDef) and method.name == '__init__':
                    for name in booleans_of(method.args):
                        yield '.'.join(('wkd_det', *parts)), node.name, name


def booleans_of(arguments):
    options = [*arguments.args, *arguments.kwonlyargs]
    hinted = [
        one.arg for one in options if one.annotation and 'bool' in ast.unparse(one.annotation)
    ]
    defaults = zip(reversed(options), reversed([*arguments.defaults, *arguments.kw_defaults]))
    given = [
        one.arg
        for one, value in defaults
        if isinstance(value, ast.Constant) and isinstance(value.value, bool)
    ]
    return sorted({*hinted, *given})


CASES = list(constructors())


@pytest.mark.parametrize(
    ('module', 'owner', 'name'), [case for case in CASES if case[1] not in INTERNAL]
)
def test_a_string_is_no_boolean(module, owner, name):
    build = getattr(import_module(module), owner)
    required = {
        parameter.name: mock.MagicMock()
        for parameter in signature(build).parameters.values()
        if parameter.default is Parameter.empty
        and parameter.kind in (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
    }
    with pytest.raises(ValueError) as caught:  # noqa: PT011  the whole message follows
        build(**dict(required, **{name: 'no'}))
    assert str(caught.value) == f"{name} must be True or False, got 'no'"


def test_the_options_are_found():
    found = {(owner, name) for _, owner, name in CASES}
    assert {('KDLoss', 'standardize'), ('ImageSizeHook', 'by_epoch')} <= found
    assert ('WKDFeatureLoss', 'unbiased') in found  # of the type bool | None
    assert {owner for owner, _ in found} >= INTERNAL
