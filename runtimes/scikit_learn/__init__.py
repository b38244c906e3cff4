"""Serve fitted scikit-learn estimators that ONNX cannot express.

Model settings name `runtimes.scikit_learn.SklearnRuntime`. MLServer executes this module anew each
time it reads them; the class lives one module below, and so stays the same object.
"""

from runtimes.scikit_learn.sklearn_runtime import SklearnRuntime

__all__ = ["SklearnRuntime"]
