"""MLServer's own metrics, for requests that are answered without its app or its data plane.

They keep their names and labels; the `version` is the one that served.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from mlserver import Settings
from mlserver.handlers import DataPlane
from starlette_exporter import PrometheusMiddleware

_ROUTE = "/v2/models/{model_name}/infer"
_VERSION_ROUTE = "/v2/models/{model_name}/versions/{model_version}/infer"
_OK = 200


class _Inferences(NamedTuple):
    succeeded: Any
    failed: Any
    seconds: Any


class InferenceCounts:
    """Counts inferences as MLServer's data plane does: ``model_infer_request_*``."""

    def __init__(self, data_plane: DataPlane) -> None:
        self._plane = data_plane
        self._series: dict[tuple[str, str | None], _Inferences] = {}

    def count(self, model: str, version: str | None, seconds: float, *, success: bool) -> None:
        """Count one inference, by what it ended with."""
        series = self._of(model, version)
        (series.succeeded if success else series.failed).inc()
        # MLServer observes the duration of what succeeded and of what did not.
        series.seconds.observe(seconds)

    def count_successes(self, model: str, version: str | None, seconds: Sequence[float]) -> None:
        """Count as many inferences as there are durations; it costs as much as counting one."""
        series = self._of(model, version)
        series.succeeded.inc(len(seconds))
        # prometheus_client has no public way to observe more than one.
        series.seconds._count.inc(len(seconds))
        series.seconds._sum.inc(sum(seconds))

    def _of(self, model: str, version: str | None) -> _Inferences:
        series = self._series.get((model, version))
        if series is None:
            labels = {"model": model, "version": version}
            series = self._series[model, version] = _Inferences(
                self._plane._ModelInferRequestSuccess.labels(**labels),
                self._plane._ModelInferRequestFailure.labels(**labels),
                self._plane._ModelInferRequestDuration.labels(**labels),
            )
        return series


class _Route(NamedTuple):
    n_requests: Any
    request_seconds: Any


class RequestCounts:
    """Counts HTTP requests as MLServer's app does: ``rest_server_*``.

    The gauge of requests in progress stays as it is: nothing runs beside an answer that is given
    without waiting.
    """

    def __init__(self, app: Any, settings: Settings) -> None:
        # The metrics belong to the class, not to one middleware: these are the app's own.
        self._middleware = PrometheusMiddleware(
            app, app_name="mlserver", prefix=settings.metrics_rest_server_prefix
        )
        self._routes: dict[tuple[bool, int], _Route] = {}

    def count(self, seconds: float, status: int, *, with_version: bool) -> None:
        """Count one inference request."""
        route = self._of(status, with_version=with_version)
        route.n_requests.inc()
        route.request_seconds.observe(seconds)

    def count_successes(self, seconds: Sequence[float], *, with_version: bool) -> None:
        """Count as many answered requests as there are durations."""
        route = self._of(_OK, with_version=with_version)
        route.n_requests.inc(len(seconds))
        # As above; the last of the buckets is for what is beyond the bounds, as here.
        histogram = route.request_seconds
        buckets = np.searchsorted(histogram._upper_bounds, seconds)
        for bucket, count in zip(histogram._buckets, np.bincount(buckets).tolist(), strict=False):
            bucket.inc(count)
        histogram._sum.inc(sum(seconds))

    def _of(self, status: int, *, with_version: bool) -> _Route:
        route = self._routes.get((with_version, status))
        if route is None:
            path = _VERSION_ROUTE if with_version else _ROUTE
            labels = ("POST", path, status, "mlserver")
            route = self._routes[with_version, status] = _Route(
                self._middleware.request_count.labels(*labels),
                self._middleware.request_time.labels(*labels),
            )
        return route
