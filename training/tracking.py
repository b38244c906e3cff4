"""Log a published version to MLflow, for those who compare trainings there.

The model repository stays the one place of truth: MLflow gets the numbers, the card and the URL of
the version, no model. A version is therefore published first and logged then, now or later, from
what it says of itself::

    metadata.json ──> parameters, metrics, tags ──┐
    card.html, metadata.json ──> artifacts ───────┴──> a run of the experiment named as the model
"""

import os
import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from importlib import import_module
from types import ModuleType
from typing import Any
from urllib.parse import quote

from abserve.artifacts import CARD, METADATA
from abserve.errors import TrackingError
from abserve.metadata import Estimate, Metadata

# MLflow takes no more in one request.
_MOST_METRICS = 1000
_MOST_PARAMETERS = 100


def log(metadata: Metadata, files: Mapping[str, bytes], url: str, tracking_uri: str) -> str:
    """Log a published version as a run, unless it is logged already.

    Nothing is sent but to the tracking server: MLflow's own telemetry is switched off for this
    process.

    Parameters
    ----------
    metadata : Metadata
        What the version says of itself.
    files : mapping of str to bytes
        Its files; `card.html` and `metadata.json` are logged, where they are there.
    url : str
        Where it was published.
    tracking_uri : str
        ``http://host:5000`` or ``https://host/path``; ``file:///folder`` for a folder, which MLflow
        still takes and does not recommend.

    Returns
    -------
    str
        The run's id.

    Raises
    ------
    TrackingError
        If MLflow is not installed, or the run cannot be logged. The version stays published.
    """
    mlflow = _mlflow()
    try:
        client = mlflow.MlflowClient(tracking_uri)
        experiment = _experiment(client, metadata.model)
        return _logged(client, experiment, metadata, url) or _log(
            mlflow.entities, client, experiment, metadata, files, url
        )
    except Exception as error:  # MLflow, requests and each store of artifacts raise their own
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise TrackingError(
            _without_credentials(
                f"{metadata.model} {metadata.version} is published to {url}, and cannot be logged "
                f"to MLflow at {tracking_uri}: {reason}; see that the server can be reached, and "
                f"log it with 'abserve models track {metadata.model} {metadata.version}'"
            )
        ) from error


def _mlflow() -> ModuleType:
    """Import MLflow, which reads its environment when it is imported."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    # It would print the run's address in the middle of an answer.
    os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"
    # MLflow 3 wants it said twice that a folder is meant.
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    # Its own choice makes four minutes of a server that is down.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    try:
        return import_module("mlflow")
    except ModuleNotFoundError as error:
        if error.name != "mlflow":
            raise
        raise TrackingError(
            "MLflow is not installed; install abserve with its 'mlflow' extra"
        ) from error


def _experiment(client: Any, model: str) -> str:
    found = client.get_experiment_by_name(model)
    return str(found.experiment_id if found is not None else client.create_experiment(model))


def _logged(client: Any, experiment: str, metadata: Metadata, url: str) -> str | None:
    finished = client.search_runs(
        [experiment],
        f"tags.`abserve.version` = '{metadata.version}' and attributes.status = 'FINISHED'",
    )
    same = (run for run in finished if run.data.tags.get("abserve.url") == url)
    return next((str(run.info.run_id) for run in same), None)


def _log(
    entities: ModuleType,
    client: Any,
    experiment: str,
    metadata: Metadata,
    files: Mapping[str, bytes],
    url: str,
) -> str:
    took = timedelta(seconds=sum(metadata.durations_seconds.values()))
    ended_at = _milliseconds(metadata.trained_at.timestamp())
    run = client.create_run(
        experiment,
        start_time=_milliseconds((metadata.trained_at - took).timestamp()),
        run_name=metadata.version,
    ).info.run_id
    try:
        metrics = [entities.Metric(name, value, ended_at, 0) for name, value in _metrics(metadata)]
        parameters = [
            entities.Param(name, str(value)) for name, value in metadata.parameters.items()
        ]
        tags = [entities.RunTag(name, value) for name, value in _tags(metadata, url).items()]
        client.log_batch(run, tags=tags)
        for start in range(0, len(parameters), _MOST_PARAMETERS):
            client.log_batch(run, params=parameters[start : start + _MOST_PARAMETERS])
        for start in range(0, len(metrics), _MOST_METRICS):
            client.log_batch(run, metrics=metrics[start : start + _MOST_METRICS])
        for name in (CARD, METADATA):
            if name in files:
                client.log_text(run, files[name].decode(), name)
    except Exception:
        client.set_terminated(run, "FAILED")
        raise
    client.set_terminated(run, "FINISHED", ended_at)
    return str(run)


def _tags(metadata: Metadata, url: str) -> dict[str, str]:
    tags = {
        "abserve.model": metadata.model,
        "abserve.version": metadata.version,
        "abserve.described_as": metadata.described_as,
        "abserve.url": url,
        "abserve.pipeline": metadata.pipeline,
        "abserve.estimator": metadata.estimator,
        "abserve.served": metadata.served,
        "abserve.seed": str(metadata.seed),
        "abserve.data_source": metadata.data and metadata.data.source,
        "abserve.data_sha256": metadata.data and metadata.data.sha256,
        "abserve.git_dirty": None if metadata.git_dirty is None else str(metadata.git_dirty),
        # Under these two names MLflow's own pages show them.
        "mlflow.source.git.commit": metadata.git_commit,
        "mlflow.note.content": metadata.description,
    }
    return {name: value for name, value in tags.items() if value}


def _metrics(metadata: Metadata) -> Iterator[tuple[str, float]]:
    """Yield each number by its name; an interval's ends are ``<name>_low`` and ``<name>_high``."""
    yield "n_fitted", metadata.n_fitted
    yield "n_held_out", metadata.n_held_out
    for name, seconds in metadata.durations_seconds.items():
        yield f"duration_seconds.{_named(name)}", seconds
    yield from _estimates("", metadata.evaluation)
    yield from _estimates("class_recall.", metadata.class_recall)
    for name, part in metadata.slices.items():
        yield from _estimates(f"slice.{_named(name)}.", part.metrics)


def _estimates(prefix: str, estimates: Mapping[str, Estimate]) -> Iterator[tuple[str, float]]:
    for name, estimate in estimates.items():
        for end, value in (("", estimate.value), ("_low", estimate.low), ("_high", estimate.high)):
            if value is not None:
                yield f"{prefix}{_named(name)}{end}", value


def _named(name: str) -> str:
    """Return a class's name, or any other, as MLflow lets a metric be called.

    Examples
    --------
    >>> _named("C++")
    'C:2B:2B'
    """
    return quote(name, safe=" /").replace("%", ":").replace("~", ":7E")


def _milliseconds(seconds: float) -> int:
    return int(seconds * 1000)


def _without_credentials(message: str) -> str:
    return re.sub(r"//[^/@\s]*@", "//", message)
