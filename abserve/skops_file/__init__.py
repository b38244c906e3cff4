"""Fitted estimators in skops files, loaded without running anything that a file brings.

::

    bytes ─> are all names in it trusted? ─> build ─> do its indices stay within it? ─> estimator
             `trusted`                       skops    `nodes`

The runtime of scikit-learn loads a version that ONNX cannot express, and training asks beforehand
whether it could.
"""

from abserve.skops_file.loading import load_estimator, read_estimator

__all__ = ["load_estimator", "read_estimator"]
