"""When somebody last changed what a SeldonDeployment serves, weights included."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any


def predictors_changed_at(document: Mapping[str, Any]) -> float:
    """Return when somebody last wrote the predictors, in seconds since 1970.

    That is what `metadata.managedFields` says.
    """
    metadata = document["metadata"]
    written = [
        entry["time"]
        for entry in metadata.get("managedFields") or ()
        if "f:predictors" in (entry.get("fieldsV1") or {}).get("f:spec", {})
    ]
    times = (metadata["creationTimestamp"], *written)
    return max(datetime.fromisoformat(each).timestamp() for each in times)
