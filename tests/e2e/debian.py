"""Tools that come from Debian and not from a Python package."""

import os
import shutil

import pytest


def needs(tool: str, package: str | None = None) -> pytest.MarkDecorator:
    """Skip a test where `tool` is missing; in CI, where it has to be there, let it fail."""
    missing = shutil.which(tool) is None and os.environ.get("CI") != "true"
    reason = f"{tool} is not installed: apt-get install --yes {package or tool}"
    return pytest.mark.skipif(missing, reason=reason)
