"""The headers of an answer that say who gave it: over REST as headers, over gRPC as metadata."""

from mlserver.cloudevents import CloudEventsMiddleware, CloudEventsTypes

from abserve import __version__
from runtimes.runtime import Runtime


def headers_of(runtime: Runtime, cloud_events: CloudEventsMiddleware) -> dict[str, str]:
    """Return those that are the same in all answers of a runtime, names in lower case.

    They are MLServer's own, and the two versions: what was trained, and what code served it.
    """
    events = cloud_events._get_headers(CloudEventsTypes.Response, runtime.settings, None)
    return {
        "x-model-version": runtime.version or "",
        "x-service-version": __version__,
        **{name.lower(): value for name, value in events.items()},
    }
