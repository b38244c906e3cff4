"""What every runtime counts, beside MLServer's own metrics.

MLServer's `mlserver.log` knows histograms only, and what it logs is missing from ``/metrics``
without parallel workers; ours are on prometheus_client's default registry, which is served.
"""

from collections.abc import Mapping

from prometheus_client import REGISTRY

from abserve.metadata import Distribution
from abserve.schema import Schema
from runtimes.exposition import VersionsCollector
from runtimes.inference import Result, Rows
from runtimes.once import once_per_process
from runtimes.refusals import Reason
from runtimes.tally import Feedback


@once_per_process
def process_collector() -> VersionsCollector:
    """Return the collector of this process, registered at the first call.

    Prometheus refuses a second one of the same names, and MLServer reloads the modules that model
    settings name; so it is made when the first version is loaded, and then kept.
    """
    collector = VersionsCollector()
    REGISTRY.register(collector)
    return collector


def feedback_of(model: str, version: str, *, is_classifier: bool) -> Feedback:
    """Return where to count the feedback of a version, whether or not it is loaded here."""
    return process_collector().feedback((model, version), is_classifier=is_classifier)


class VersionMetrics:
    """Counts the requests of one version; its series exist from here on, at 0.

    A version that is loaded again goes on where it was. To be called from the event loop only.

    Parameters
    ----------
    model, version : str
        Whose requests.
    schema : Schema
        What its rows and its predictions are.
    reference : mapping of str to Distribution
        What its features were like when it was fitted.
    git_commit, trained_at : str
        Where it comes from.
    """

    def __init__(
        self,
        model: str,
        version: str,
        schema: Schema,
        reference: Mapping[str, Distribution],
        git_commit: str,
        trained_at: str,
    ) -> None:
        self._counts, self._tally = process_collector().load(
            (model, version),
            schema,
            reference,
            {"git_commit": git_commit, "trained_at": trained_at},
        )

    @property
    def unit_header(self) -> str:
        """The header that names the unit of a request; empty if requests are the units."""
        return self._counts.units.header

    def count_unit(self, unit: bytes | None) -> bool:
        """Count the unit of a request that has arrived; return whether this is its first one.

        It is None if the request is a unit of its own.
        """
        return self._counts.units.add(unit)

    def count_answer(self, seconds: float, rows: Rows, result: Result) -> None:
        """Count one answered request.

        The arrays are kept for a while, and must not change any more.
        """
        self._tally.add(seconds, rows, result)

    def count_rejected(self, reason: Reason) -> None:
        """Count one request that was refused through the client's fault."""
        self._counts.rejected[reason] += 1

    def count_failed(self) -> None:
        """Count one request that was not answered through our fault."""
        self._counts.n_failed += 1
