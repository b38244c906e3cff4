"""The page *SLO*: whether what was promised is kept, and how fast what is left is used up."""

from dataclasses import dataclass

from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.page import Row, deployment, namespace, page
from dashboards.panels import AnyPanel, Levels, lines, number
from dashboards.queries import BY_VERSION, DEPLOYMENT, VERSION, Query, series, share, total

_INFO = "abserve_model_info"
_PERIOD = "30d"
_WINDOWS = ("5m", "30m", "1h", "6h", "3d")
# SRE workbook, chapter 5: page at 14.4 (2 % of 30 days' budget in an hour) and at 6, ticket at 1.
_BURN = Levels(warn=1, act=6)
_PAGES_AT = 14.4


@dataclass(frozen=True, slots=True)
class Objective:
    """What is promised, and the recording rule that says how much of it was broken.

    The same as in `manifests/monitoring/rules`, which alerts on it.
    """

    name: str
    promise: str
    target: float
    broken: str
    ratio: str
    runbook: str

    @property
    def budget(self) -> str:
        return f"{1 - self.target:.6g}"


def _over_period(recorded: str) -> str:
    """Return what a recorded rate was in all: the sum over time, as the alerts have it."""
    return total(f"sum_over_time({series(recorded, DEPLOYMENT)}[{_PERIOD}])")


AVAILABILITY = Objective(
    "Availability",
    "of requests get no error of ours",
    0.999,
    share(
        _over_period("abserve:gateway_errors:rate5m"),
        _over_period("abserve:gateway_valid_requests:rate5m"),
    ),
    "abserve:error_ratio:rate",
    "availability-budget-burn",
)
LATENCY = Objective(
    "Latency",
    "of answers take 50 ms at most",
    0.99,
    share(
        _over_period("abserve:slow_answers:rate5m"),
        _over_period("abserve:answers:rate5m"),
    ),
    "abserve:slow_ratio:rate",
    "latency-budget-burn",
)


def slo() -> Dashboard:
    """Return the page of the objectives of one SeldonDeployment."""
    return page(
        "slo",
        "abserve / SLO",
        "The objectives of a SeldonDeployment over 30 days: kept or not, how much may still fail, "
        "and how fast that is being used up.",
        [namespace(_INFO), deployment(_INFO)],
        [
            Row("Is what was promised kept?", (*_kept(AVAILABILITY), *_kept(LATENCY))),
            Row("How fast is the budget being used up?", (*_burn(AVAILABILITY), *_burn(LATENCY))),
            Row("What counts", _counts()),
        ],
        since="now-24h",
    )


def _kept(objective: Objective) -> tuple[AnyPanel, ...]:
    percent = f"{objective.target * 100:g}"
    left = f"1 - ({objective.broken}) / {objective.budget}"
    return (
        number(
            f"{objective.name}: {percent} % promised",
            f"{percent} % {objective.promise}: what was kept of it in the last 30 days, or since "
            "there are counts. Below it the promise is broken.",
            "percentunit",
            Query(f"1 - ({objective.broken})", objective.name),
            levels=Levels(
                warn=objective.target + (1 - objective.target) / 4,
                act=objective.target,
                low_is_bad=True,
            ),
            decimals=3,
            none="no requests",
        ),
        number(
            f"{objective.name}: budget left",
            "Share of what may fail in 30 days that has not failed yet. Under 25 %: no risky "
            "change. Below 0 it is overdrawn: what is changed next makes it more reliable.",
            "percentunit",
            Query(left, "left"),
            levels=Levels(warn=0.25, act=0, low_is_bad=True),
            decimals=1,
            none="no requests",
            runbook=objective.runbook,
        ),
    )


def _burn(objective: Objective) -> tuple[AnyPanel, ...]:
    return (
        lines(
            f"{objective.name}: burn rate",
            "How many times faster than 30 days the budget is used up, over windows of 5 minutes "
            f"to 3 days. Over {_PAGES_AT:g} in 1h and 5m, or over 6 in 6h and 30m: somebody is "
            "called. Over 1 in 3d and 6h: a ticket. The short window shows when it is over.",
            "none",
            *(
                Query(f"{series(objective.ratio + over, DEPLOYMENT)} / {objective.budget}", over)
                for over in _WINDOWS
            ),
            levels=_BURN,
            runbook=objective.runbook,
        ),
    )


def _counts() -> tuple[AnyPanel, ...]:
    gateway = series("abserve:gateway_requests:rate5m", DEPLOYMENT)
    slow = total(series("abserve:slow_answers:rate5m", DEPLOYMENT), BY_VERSION)
    answers = total(series("abserve:answers:rate5m", DEPLOYMENT), BY_VERSION)
    return (
        lines(
            "What the gateway answered",
            "By the first digit of the status; for gRPC by what it amounts to. 5 is our error; 4 "
            "is the caller's fault and 0 a caller who went away: neither good nor bad. Of few "
            "requests one error is a large share.",
            "reqps",
            Query(gateway, "{{predictor}}: {{code_class}}xx"),
            stacked=True,
        ),
        lines(
            "Answers that took more than 50 ms",
            "Share of what each version answered, over five minutes: one version alone is slow, "
            "or all are.",
            "percentunit",
            Query(share(slow, answers), VERSION),
        ),
    )
