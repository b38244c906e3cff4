import doctest
import importlib
import pkgutil

import pytest

from abserve import experiment

MODULES = sorted(module.name for module in pkgutil.iter_modules(experiment.__path__))


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_are_true(name: str) -> None:
    module = importlib.import_module(f"abserve.experiment.{name}")
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0
