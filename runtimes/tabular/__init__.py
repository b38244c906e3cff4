"""Serve estimators of named, numeric columns.

Model settings name `runtimes.tabular.TabularClassifier` or `runtimes.tabular.TabularRegressor`.
MLServer executes this module anew each time it reads them; the classes live one module below, and
so stay the same objects.
"""

from runtimes.tabular.classifier import TabularClassifier
from runtimes.tabular.regressor import TabularRegressor

__all__ = ["TabularClassifier", "TabularRegressor"]
