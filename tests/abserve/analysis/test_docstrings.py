import doctest
import importlib

import pytest


@pytest.mark.parametrize("name", ["counts_file", "reading", "wording"])
def test_examples_in_docstrings_are_true(name: str) -> None:
    module = importlib.import_module(f"abserve.analysis.{name}")
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0
