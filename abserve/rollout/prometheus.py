"""The past as Prometheus keeps it: raw samples of the replicas' counters.

One instant query asks for all series that are needed, over the short time before a moment::

    {__name__=~"abserve_requests_total|...", namespace="shop", model=~"|iris", ...}[60000ms]

A range holds the samples as they were scraped, each with its own time, where an instant vector has
lost it. So the samples of a replica are those of one scrape, its start time among them; how old
they may be is said here, and is not Prometheus' five minutes. There is no ``rate`` and no
``increase``, which extrapolate.

The target that was scraped is what is left of a series' labels without the metric's own, and its
start time has no other labels. A matcher as ``model=~"|iris"`` lets that series, which has no such
label, pass.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import requests
from pydantic import BaseModel, Field, ValidationError
from requests.auth import AuthBase

from abserve.analysis import Experiment
from abserve.errors import LostCountsError, TelemetryError
from abserve.slots import period_of, rest_seconds
from abserve.telemetry import Reading, ReplicaReading, Series
from abserve.telemetry.readings import COUNTED, STARTED

_OWN_LABELS = frozenset(
    {"model", "version", "outcome", "header", "le", "label", "metric", "period", "slot"}
)
_MATCHER = r'[a-zA-Z_]\w*(?:=~|!=|!~|=)"(?:[^"\\]|\\.)*"'
_MATCHERS = re.compile(rf"{_MATCHER}(?:,{_MATCHER})*", re.ASCII)
# Clocks that are kept right differ by less; the samples of such a moment are old enough anyway.
_CLOCKS_DIFFER_SECONDS = 5
# Those of Prometheus and of a replica, by which its samples are of another moment than they say.
_SAMPLES_DIFFER_SECONDS = 1


@dataclass(frozen=True, slots=True)
class Access:
    """Where a Prometheus is, how it lets us in, and what its samples are like.

    Parameters
    ----------
    url : str
        With the path that the API's ``/api/v1`` is below, if any; it may hold a user and password.
    token_file : Path or None
        Holds a bearer token; read before each request, because tokens are replaced.
    ca_file : Path or None
        Certificates to trust instead of the usual ones.
    headers : mapping of str to str
        To be sent with each request, such as the tenant's.
    timeout_seconds : float
        How long to wait for an answer.
    selector : str
        Further label matchers, as ``cluster="eu",job="models"``.
    recent_seconds : float
        How old the last sample of a replica may be: two scrapes. It never may be older than the
        slots of outcomes rest.

    Raises
    ------
    TelemetryError
        If the URL or the selector is none.
    """

    url: str
    token_file: Path | None = None
    ca_file: Path | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout_seconds: float = 10.0
    selector: str = ""
    recent_seconds: float = 60.0

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            # Only asking for the port checks it.
            usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
        except ValueError:
            usable = False
        if not usable or parts.query or parts.fragment:
            raise TelemetryError(
                f"the URL of Prometheus is {self.shown!r}; expected one as http://prometheus:9090"
            )
        if self.selector and not _MATCHERS.fullmatch(self.selector):
            raise TelemetryError(
                f"the selector is {self.selector!r}; expected label matchers as "
                'cluster="eu",job="models"'
            )

    @property
    def shown(self) -> str:
        """The URL without what nobody else should see."""
        return re.sub(r"[^/]*@", "", self.url).partition("?")[0]

    def authorisation(self) -> "_Bearer | None":
        """Return what proves who asks, or None if a token is not wanted.

        Raises
        ------
        TelemetryError
            If the token cannot be read.
        """
        if self.token_file is None:
            return None
        try:
            return _Bearer(self.token_file.read_text(encoding="latin-1").strip())
        except OSError as error:
            raise TelemetryError(
                f"the token for Prometheus cannot be read: {error}; expected a file that holds it"
            ) from error


class PrometheusHistory:
    """What the replicas of one SeldonDeployment had counted, from Prometheus.

    Parameters
    ----------
    access : Access
        The Prometheus that scrapes them.
    namespace, model : str
        Of the SeldonDeployment, and the name of the model that it serves. If the targets have the
        label ``seldon_deployment_id``, it must be the SeldonDeployment's.
    experiment : Experiment
        Says which outcomes are needed, and of which SeldonDeployment.
    """

    def __init__(self, access: Access, namespace: str, model: str, experiment: Experiment) -> None:
        period = period_of(experiment.interval_seconds, experiment.maturity_seconds)
        self._access = access
        self._recent_seconds = min(
            access.recent_seconds, rest_seconds(experiment.interval_seconds, period)
        )
        self._matchers = ",".join(
            (
                f'__name__=~"{"|".join((STARTED, *COUNTED))}"',
                f"namespace={json.dumps(namespace)}",
                _equal_or_absent("model", model),
                _equal_or_absent("seldon_deployment_id", experiment.deployment),
                _equal_or_absent("metric", experiment.primary.metric),
                _equal_or_absent("period", str(period)),
                *([access.selector] if access.selector else []),
            )
        )
        self._session = requests.Session()
        self._session.headers.update(access.headers)

    def reading(self, at: float, since: float | None = None) -> Reading:
        """Return what each replica had counted at `at`, in seconds since 1970.

        Parameters
        ----------
        since : float, optional
            A second before the oldest that samples may be; by default `Access` says how old.

        Raises
        ------
        LostCountsError
            If no sample was kept of then, or it cannot be told whose they are.
        TelemetryError
            If Prometheus does not answer, refuses, answers in part, or has not come to that moment.
        """
        recent_seconds = self._recent_seconds
        if since is not None:
            # Prometheus knows no range of nothing.
            recent_seconds = max(at - since - _SAMPLES_DIFFER_SECONDS, 0.001)
        recent = f"[{int(recent_seconds * 1000)}ms]"
        targets = _targets(self._ask(f"{{{self._matchers}}}{recent}", at))
        if not any(target.samples for target in targets):
            raise LostCountsError(
                f"Prometheus at {self._access.shown} has no samples of abserve's servers from the "
                f"{recent_seconds:g} s before {_time(at)} with {{{self._matchers}}}; expected"
                " those of the predictors: see that it scrapes them, often enough and with these "
                "labels"
            )
        return Reading(at, self._replicas(targets, at))

    def _replicas(self, targets: Iterable["_Target"], at: float) -> dict[str, ReplicaReading]:
        replicas: dict[str, ReplicaReading] = {}
        processes: set[tuple[str, float]] = set()
        for target in targets:
            instance = target.labels.get("instance", "")
            pod = target.labels.get("pod", "")
            name = "/".join(filter(None, (pod, instance)))
            if target.started_at is None:
                raise LostCountsError(
                    f"Prometheus at {self._access.shown} has no {STARTED} of replica {name} at "
                    f"{_time(at)}; expected it to be kept with the other metrics, for without it a "
                    "counter that began anew cannot be told"
                )
            process = (pod or instance, target.started_at)
            if target.samples and (name in replicas or process in processes):
                raise LostCountsError(
                    f"Prometheus at {self._access.shown} has two targets for replica {name} at "
                    f"{_time(at)}, one of them with the labels {dict(target.labels)}; expected one:"
                    ' name it with a selector, as job="models"'
                )
            if target.samples:
                processes.add(process)
            replicas[name] = ReplicaReading(target.started_at, target.samples)
        return replicas

    def _ask(self, query: str, at: float) -> "list[_Scraped]":
        shown = self._access.shown
        url = f"{self._access.url.rstrip('/')}/api/v1/query"
        try:
            response = self._session.get(
                url,
                params={"query": query, "time": f"{at:.3f}"},
                timeout=self._access.timeout_seconds,
                auth=self._access.authorisation(),
                verify=str(self._access.ca_file) if self._access.ca_file else True,
            )
        except (requests.RequestException, OSError) as error:
            raise TelemetryError(
                f"Prometheus at {shown} does not answer: {_cause(error)}; see that it runs and can "
                "be reached from here"
            ) from error
        try:
            answer = _Answer.model_validate_json(response.content)
        except ValidationError as error:
            raise TelemetryError(
                f"{shown} answered {response.status_code} with what is no answer of Prometheus "
                f"({response.headers.get('content-type', 'no content-type')}); expected its HTTP "
                "API below this URL"
            ) from error
        if answer.status != "success" or answer.data is None or not response.ok:
            raise TelemetryError(
                f"Prometheus at {shown} answered {response.status_code}: "
                f"{answer.error_type}: {answer.error}"
            )
        if answer.warnings:
            raise TelemetryError(
                f"Prometheus at {shown} answered in part: {'; '.join(answer.warnings)}; expected "
                "all samples"
            )
        self._check_past(at, response.headers.get("date"))
        return answer.data.result

    def _check_past(self, at: float, date: str | None) -> None:
        try:
            now = parsedate_to_datetime(date or "").timestamp()
        except ValueError:
            # A proxy took the date away.
            return
        if at > now + _CLOCKS_DIFFER_SECONDS:
            raise TelemetryError(
                f"asked Prometheus at {self._access.shown} for {_time(at)}, and its clock says "
                f"{_time(now)}; expected a moment that has passed: set the clocks right"
            )


class _Bearer(AuthBase):
    """Sends a token, also where a .netrc has something else to send."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class _Scraped(BaseModel):
    """One series: its labels, and its samples as pairs of time and value."""

    metric: dict[str, str]
    values: list[tuple[float, float]] = []


class _Data(BaseModel):
    result: list[_Scraped]


class _Answer(BaseModel):
    """An answer of Prometheus' HTTP API."""

    status: Literal["success", "error"]
    data: _Data | None = None
    error_type: str = Field(default="", alias="errorType")
    error: str = ""
    warnings: list[str] = []


@dataclass(frozen=True, slots=True)
class _Target:
    """What the last scrape of one target had; `started_at` is None if that was not kept."""

    labels: Mapping[str, str]
    started_at: float | None
    samples: Mapping[Series, float]


def _targets(result: Iterable[_Scraped]) -> list[_Target]:
    last: dict[frozenset[tuple[str, str]], dict[Series, tuple[float, float]]] = defaultdict(dict)
    for scraped in result:
        labels = dict(scraped.metric)
        name = labels.pop("__name__")
        own = {} if name == STARTED else _take_own(labels)
        if scraped.values:
            last[frozenset(labels.items())][Series.of(name, own)] = scraped.values[-1]
    started = Series.of(STARTED, {})
    return [
        _Target(
            dict(sorted(labels)),
            samples[started][1] if started in samples else None,
            {
                series: value
                for series, (scraped_at, value) in samples.items()
                # What an older scrape had is of a process that has ended.
                if series != started and scraped_at == samples.get(started, (scraped_at,))[0]
            },
        )
        for labels, samples in last.items()
    ]


def _take_own(labels: dict[str, str]) -> dict[str, str]:
    """Take a metric's own labels out of its series', and leave the target's.

    Where both have a label of one name, Prometheus calls the metric's ``exported_<name>``.
    """
    return {
        label: labels.pop(f"exported_{label}" if f"exported_{label}" in labels else label)
        for label in _OWN_LABELS & labels.keys()
    }


def _equal_or_absent(label: str, value: str) -> str:
    return f"{label}=~{json.dumps(f'|{re.escape(value)}')}"


def _cause(error: BaseException) -> str:
    while error.__context__ is not None:
        error = error.__context__
    return str(error) or type(error).__name__


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(sep=" ", timespec="milliseconds")
