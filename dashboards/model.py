"""The page *Model*: whether what it says is right, and its inputs are what it was fitted on."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.page import Row, deployment, namespace, page, replicas_and_versions, window
from dashboards.panels import AnyPanel, Levels, bars, lines, number
from dashboards.queries import (
    ABOUT,
    ABOUT_VERSION,
    BY_ABOUT,
    BY_VERSION,
    VERSION,
    VERSIONS,
    Query,
    increase,
    quantile,
    rate,
    seen,
    series,
    share,
    total,
)

_INFO = "abserve_model_info"
_FEEDBACK = "abserve_feedback_total"
_CONFIDENCE = "abserve_confidence_ratio"
_WINDOW = "$window"
# Below the one a population stability index is usual, above the other one it is not.
_DRIFT = Levels(warn=0.1, act=0.25)
# The nearest bound of the histogram to "not sure".
_UNSURE = "0.8"


def model() -> Dashboard:
    """Return the page of the versions of one SeldonDeployment, side by side."""
    return page(
        "model",
        "abserve / Model",
        "What the versions of a model predict and how right they are, and whether their inputs "
        "are like those that they were fitted on.",
        [namespace(_INFO), deployment(_INFO), *replicas_and_versions(), window()],
        [
            Row("Is it right?", _quality()),
            Row("Is the world still the one it was fitted on?", _inputs()),
            Row("What does it say? (classifiers)", _predictions()),
            Row("How far off is it? (regressors)", _errors(), collapsed=True),
        ],
        since="now-24h",
    )


def _counted(metric: str, *matchers: str) -> str:
    """Return how much was counted in the window, by the version that it is about."""
    return total(increase(metric, ABOUT, *matchers, over=_WINDOW), BY_ABOUT)


def _quality() -> tuple[AnyPanel, ...]:
    right = _counted(_FEEDBACK, 'outcome="correct"')
    known = _counted(_FEEDBACK, 'outcome=~"correct|incorrect"')
    accuracy = Query(share(right, known), ABOUT_VERSION)
    fed_back = share(_counted(_FEEDBACK), _counted("abserve_predicted_rows_total"))
    reward = share(_counted("abserve_reward_sum_total"), _counted("abserve_rewards_total"))
    return (
        number(
            "Accuracy",
            "Share of rows that were named right, of those whose ground truth became known in the "
            "window; of a classifier. It is what came in, not what was asked: a version that just "
            "began has few. For a decision look at the page Experiment.",
            "percentunit",
            accuracy,
            width=8,
            decimals=1,
            none="no ground truth yet",
        ),
        number(
            "Rows whose truth is known",
            "Share of the rows answered in the window of which ground truth came in the window. "
            "0: feedback is starved, and nobody knows how good the model is.",
            "percentunit",
            Query(fed_back, ABOUT_VERSION),
            width=8,
            decimals=1,
            none="no requests",
            runbook="feedback-starved",
        ),
        number(
            "Reward",
            "Mean of the rewards that came in the window, each in [0, 1].",
            "percentunit",
            Query(reward, ABOUT_VERSION),
            width=8,
            decimals=1,
            none="no rewards",
        ),
        lines(
            "Accuracy by version",
            "As above, over time. All versions fall together: the world or the labels changed. "
            "One falls alone: that version.",
            "percentunit",
            accuracy,
            minimum=None,
            maximum=1,
        ),
        lines(
            "Ground truth that came in",
            "Rows in each second, by what they were: correct, incorrect, or - of a regressor - "
            "measured.",
            "rowsps",
            Query(
                total(rate(_FEEDBACK, ABOUT), f"{BY_ABOUT}, outcome"),
                f"{ABOUT_VERSION} {{{{outcome}}}}",
            ),
            stacked=True,
        ),
    )


def _inputs() -> tuple[AnyPanel, ...]:
    by_feature = f"{BY_VERSION}, feature"
    named = f"{VERSION} {{{{feature}}}}"
    drift = f"max by ({by_feature}) ({series('abserve_drift_psi', VERSIONS)})"
    outside = total(rate("abserve_out_of_range_values_total", VERSIONS), by_feature)
    refused, by_reason = "abserve_rejected_requests_total", f"{BY_VERSION}, reason"
    rejected = seen(total(rate(refused, VERSIONS), by_reason), refused, VERSIONS, by=by_reason)
    rows = f"min by ({BY_VERSION}) ({series('abserve_drift_window_rows', VERSIONS)})"
    return (
        bars(
            "Drift of each feature now",
            "Population stability index of the latest 10,000 rows against those the version was "
            "fitted on; the worst replica. Below 0.1 is usual, above 0.25 is not: find out what "
            "changed upstream, and retrain if it stays. Absent below 100 rows.",
            "short",
            Query(drift, named),
            levels=_DRIFT,
            runbook="feature-drift",
        ),
        lines(
            "Drift of each feature",
            "As beside, over time. A step: something upstream was changed. A slope: the world "
            "moves.",
            "short",
            Query(drift, named),
            levels=_DRIFT,
        ),
        lines(
            "Values out of range",
            "Values beyond the bounds of the schema that were answered all the same, in each "
            "second. Refused ones are beside.",
            "cps",
            Query(outside, named),
        ),
        lines(
            "Refusals by reason",
            "Requests that were refused because they do not fit the schema, in each second.",
            "reqps",
            Query(rejected, f"{VERSION} {{{{reason}}}}"),
            stacked=True,
        ),
        lines(
            "Rows that drift is computed from",
            "Of the replica that has least. Few rows make the index jump: wait for some thousand.",
            "short",
            Query(rows, VERSION),
        ),
        lines(
            "Rows predicted",
            "Rows answered in each second.",
            "rowsps",
            Query(total(rate("abserve_predicted_rows_total", VERSIONS), BY_VERSION), VERSION),
        ),
    )


def _predictions() -> tuple[AnyPanel, ...]:
    named = total(rate("abserve_predictions_total", VERSIONS), "model, version, label")
    of_version = total(rate("abserve_predictions_total", VERSIONS), "model, version")
    by_class = f"{named} / on (model, version) group_left () ({of_version} > 0)"
    mean = share(
        total(rate(f"{_CONFIDENCE}_sum", VERSIONS), BY_VERSION),
        total(rate(f"{_CONFIDENCE}_count", VERSIONS), BY_VERSION),
    )
    sure = share(
        total(rate(f"{_CONFIDENCE}_bucket", VERSIONS, f'le="{_UNSURE}"'), BY_VERSION),
        total(rate(f"{_CONFIDENCE}_count", VERSIONS), BY_VERSION),
    )
    side_by_side = lines(
        "Share of each class: $version",
        "Of what this version predicted. On the same requests two versions should name the "
        "classes about equally often; a class that grows in one alone is worth a look.",
        "percentunit",
        Query(by_class, "{{label}}"),
        width=24,
        maximum=1,
        stacked=True,
    )
    return (
        side_by_side.repeat("version").repeat_direction("h"),
        lines(
            "Confidence, mean",
            "Mean of the largest probability of each row. It falls when inputs become strange, "
            "long before ground truth can tell.",
            "percentunit",
            Query(mean, VERSION),
            width=8,
            minimum=None,
            maximum=1,
        ),
        lines(
            "Confidence, median and lowest tenth",
            "Half of the rows, and nine in ten, are predicted with more confidence than this.",
            "percentunit",
            Query(quantile(0.5, _CONFIDENCE, VERSIONS, by=BY_VERSION), f"{VERSION} half"),
            Query(quantile(0.1, _CONFIDENCE, VERSIONS, by=BY_VERSION), f"{VERSION} nine in ten"),
            width=8,
            minimum=None,
            maximum=1,
        ),
        lines(
            "Rows that it is not sure of",
            "Share of rows whose largest probability is 0.8 at most.",
            "percentunit",
            Query(sure, VERSION),
            width=8,
            maximum=1,
        ),
    )


def _errors() -> tuple[AnyPanel, ...]:
    measured = _counted(_FEEDBACK, 'outcome="measured"')
    absolute = share(_counted("abserve_absolute_error_sum_total"), measured)
    squared = share(_counted("abserve_squared_error_sum_total"), measured)
    return (
        lines(
            "Mean absolute error",
            "Over the rows whose ground truth became known in the window, in the unit of what is "
            "predicted.",
            "none",
            Query(absolute, ABOUT_VERSION),
        ),
        lines(
            "Root mean squared error",
            "As beside; a few large errors weigh more.",
            "none",
            Query(f"sqrt({squared})", ABOUT_VERSION),
        ),
    )
