"""Check the indices that scikit-learn's compiled code follows without checking them.

A decision tree of a file says for each node which nodes come next and which column is compared. A
number too large would have prediction read memory that is not the tree's, and a node that comes
back to itself would never end. Fitted trees have every node after the one it hangs from.
"""

from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble._forest import BaseForest
from sklearn.ensemble._gb import BaseGradientBoosting
from sklearn.ensemble._hist_gradient_boosting.gradient_boosting import BaseHistGradientBoosting
from sklearn.neighbors import BallTree, KDTree
from sklearn.tree import BaseDecisionTree

_LEAF = -1


def indices_fit(part: Any) -> bool:
    """Say whether the trees that an estimator holds itself stay within their nodes and its columns.

    Parameters
    ----------
    part : Any
        An estimator, or anything else that one is made of, which has nothing to check.

    Returns
    -------
    bool
        False also if a tree is too damaged to tell.
    """
    try:
        return _fits(part)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        return False


def _fits(part: Any) -> bool:
    # What has not been fitted has no trees: an ensemble keeps such copies of its members.
    if isinstance(part, BaseDecisionTree) and hasattr(part, "tree_"):
        return _tree_fits(part.tree_, part.n_features_in_)
    if isinstance(part, BaseForest | BaseGradientBoosting) and hasattr(part, "estimators_"):
        # They hand their rows to the trees as they are, whatever the trees say they expect.
        trees = np.asarray(part.estimators_, dtype=object).ravel()
        return all(_tree_fits(each.tree_, part.n_features_in_) for each in trees)
    if isinstance(part, BaseHistGradientBoosting) and hasattr(part, "_predictors"):
        predictors = chain.from_iterable(part._predictors)
        return all(_predictor_fits(each.nodes, part.n_features_in_) for each in predictors)
    if isinstance(part, KDTree | BallTree):
        return _ball_or_box_tree_fits(part)
    return True


def _tree_fits(tree: Any, n_features: int) -> bool:
    return _nodes_fit(
        tree.children_left != _LEAF,
        (tree.children_left, tree.children_right),
        tree.feature,
        n_features,
    )


def _predictor_fits(nodes: NDArray[Any], n_features: int) -> bool:
    # Categories are looked up in further tables; an estimator that has them cannot be loaded.
    if nodes["is_categorical"].any():
        return False
    return _nodes_fit(
        nodes["is_leaf"] == 0, (nodes["left"], nodes["right"]), nodes["feature_idx"], n_features
    )


def _nodes_fit(
    inner: NDArray[np.bool_],
    children: tuple[NDArray[Any], NDArray[Any]],
    feature: NDArray[Any],
    n_features: int,
) -> bool:
    own = np.arange(len(inner))
    fits = (feature >= 0) & (feature < n_features)
    for child in children:
        fits &= (child > own) & (child < len(inner))
    return len(inner) > 0 and bool(fits[inner].all())


def _ball_or_box_tree_fits(tree: Any) -> bool:
    data, indices, nodes, bounds, _, n_levels, n_nodes = tree.__getstate__()[:7]
    n_rows, n_columns = data.shape
    # A complete binary tree: the two nodes below node i are 2 i + 1 and 2 i + 2.
    if not (1 <= n_levels < nodes.size.bit_length() + 1 and n_nodes == 2**n_levels - 1):
        return False
    start, end = nodes["idx_start"], nodes["idx_end"]
    return bool(
        nodes.shape == (n_nodes,)
        and bounds.shape[1:] == (n_nodes, n_columns)
        and len(bounds) == (1 if isinstance(tree, BallTree) else 2)
        and indices.shape == (n_rows,)
        and ((indices >= 0) & (indices < n_rows)).all()
        and ((start >= 0) & (start <= end) & (end <= n_rows)).all()
        and nodes["is_leaf"][n_nodes // 2 :].all()
    )
