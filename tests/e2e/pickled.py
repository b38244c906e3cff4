"""A model that is no version of ours: a pickled pipeline, for ``SKLEARN_SERVER``."""

from typing import Any

import joblib
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from tests.e2e.local_cluster import LocalCluster

FOLDER = "s3://models/somebody/iris"


def publish_pickle(cluster: LocalCluster) -> None:
    """Put the model into the cluster's repository, where `FOLDER` says."""
    folder = cluster.home / "repository/somebody/iris"
    folder.mkdir(parents=True)
    model = LogisticRegression(max_iter=1000).fit(*load_iris(return_X_y=True))
    joblib.dump(model, folder / "model.joblib")


def sklearn_predictor(name: str, **fields: Any) -> dict[str, Any]:
    return {
        "name": name,
        "annotations": {"seldon.io/no-engine": "true"},
        "graph": {
            "name": "iris",
            "implementation": "SKLEARN_SERVER",
            "modelUri": FOLDER,
            "envSecretRefName": "model-repository",
        },
        **fields,
    }
