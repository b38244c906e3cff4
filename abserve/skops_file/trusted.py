"""What a skops file may be made of, besides what skops trusts by itself.

skops builds an object from names in the file: it imports the named type, makes an instance without
calling its constructor, and sets the attributes. Before it builds anything it compares all names
with those it trusts by default - every public estimator of scikit-learn, the common loss functions,
numpy's arrays and numbers, ufuncs - and with ours. That leaves out every function that is no ufunc,
bound methods, ``functools.partial``, the callables of ``operator`` and every class of anyone else:
nothing in a file can name code to be run.

What we add holds numbers and other trusted objects only, and calls nothing that it holds. Some of
it is compiled code that follows indices in the file unchecked, which is why skops leaves it out:
`nodes` checks those. The rest, and what skops trusts itself, may still crash a process that is
given a forged file; who published a version is what signatures are for.
"""

from collections.abc import Mapping

_OBJECTS = (
    # Nodes of forests, gradient boosting and nearest neighbours; see `nodes`.
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.neighbors._ball_tree.BallTree",
    "sklearn.neighbors._kd_tree.KDTree",
    # The distances of the latter that are plain arithmetic. Others hold vectors and matrices whose
    # sizes they do not check, or a function of the user's.
    "sklearn.metrics._dist_metrics.ChebyshevDistance64",
    "sklearn.metrics._dist_metrics.EuclideanDistance64",
    "sklearn.metrics._dist_metrics.ManhattanDistance64",
    # What CalibratedClassifierCV is made of.
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.calibration._TemperatureScaling",
    # Gaussian processes: one classifier per class, and kernels, which hold numbers and kernels.
    "sklearn.gaussian_process._gpc._BinaryGaussianProcessClassifierLaplace",
    "sklearn.gaussian_process.kernels.CompoundKernel",
    "sklearn.gaussian_process.kernels.ConstantKernel",
    "sklearn.gaussian_process.kernels.DotProduct",
    "sklearn.gaussian_process.kernels.ExpSineSquared",
    "sklearn.gaussian_process.kernels.Exponentiation",
    "sklearn.gaussian_process.kernels.Matern",
    "sklearn.gaussian_process.kernels.PairwiseKernel",
    "sklearn.gaussian_process.kernels.Product",
    "sklearn.gaussian_process.kernels.RBF",
    "sklearn.gaussian_process.kernels.RationalQuadratic",
    "sklearn.gaussian_process.kernels.Sum",
    "sklearn.gaussian_process.kernels.WhiteKernel",
    # The losses of TweedieRegressor.
    "sklearn._loss.loss.HalfTweedieLoss",
    "sklearn._loss.loss.HalfTweedieLossIdentity",
    # How a neural network was fitted, which it keeps.
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
)

# By name, the one way in which skops may build it. skops lets a file choose: it may also ask that a
# type be called with arguments of its own and be given a state of its own, and `numpy.dtype` built
# like that makes numpy take the bytes of an array for addresses of objects.
TRUSTED: Mapping[str, str] = {
    **dict.fromkeys(_OBJECTS, "ObjectNode"),
    # Nodes of decision trees; see `nodes`.
    "sklearn.tree._tree.Tree": "TreeNode",
    # The datatype that SimpleImputer and KBinsDiscretizer were fitted on.
    "numpy.dtype": "DTypeNode",
    # The members of voting and stacking estimators, by name.
    "sklearn.utils._bunch.Bunch": "DictNode",
    # How SelectKBest and its like judged the columns; not called again after fitting.
    "sklearn.feature_selection._univariate_selection.f_classif": "FunctionNode",
    "sklearn.feature_selection._univariate_selection.f_regression": "FunctionNode",
}
