"""The page *Experiment*: what is known of the candidate, and what the controller makes of it."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.page import Mark, Row, deployment, namespace, page
from dashboards.panels import (
    VERMILION,
    YELLOW,
    AnyPanel,
    Levels,
    banded,
    coloured_by_variant,
    lines,
    number,
    states,
    words,
)
from dashboards.queries import (
    ABOUT_VERSION,
    BY_ABOUT,
    DEPLOYMENT,
    Query,
    increase,
    quantile,
    rate,
    series,
    share,
    total,
)

_INFO = "abserve_rollout_info"
_DECISION = series("abserve_rollout_decision", DEPLOYMENT)
_DECIDED_AT = series(
    "abserve_rollout_decided_timestamp_seconds", DEPLOYMENT, 'decision!="CONTINUE"'
)
_IN_FORCE_AT = series("abserve_rollout_weights_in_force_timestamp_seconds", DEPLOYMENT)
_RIGHT, _KNOWN = 'outcome="correct"', 'outcome=~"correct|incorrect"'
_WEIGHT = series("abserve_rollout_found_weight_percent", DEPLOYMENT)
_OF_ONE_METRIC = "namespace, deployment, metric"
# The rate of what each variant counted is for the eye; what is decided on is counted by block.
_OVER = "5m"


def experiment() -> Dashboard:
    """Return the page of the rollout of one SeldonDeployment."""
    return page(
        "experiment",
        "abserve / Experiment",
        "The rollout of a candidate: what was decided and why, the effect with its interval, the "
        "evidence for each claim against its bar, and whether units arrived as the weights say.",
        [namespace(_INFO), deployment(_INFO)],
        [
            Row("What comes of it?", _outcome()),
            Row("Is the candidate better?", _effect()),
            Row("What is shown so far?", _evidence()),
            Row("Do the units arrive as the weights say?", _shares()),
            Row("The variants side by side", _variants()),
        ],
        marks=[
            Mark(
                "Decision",
                # Of one copy of the controller after another, one mark.
                f"max by (decision) ({_DECIDED_AT})",
                "{{decision}}",
                VERMILION,
            ),
            Mark(
                "New weights",
                f"max({_IN_FORCE_AT})",
                "the controller's new weights are in force",
                YELLOW,
            ),
        ],
        since="now-2d",
    )


def _outcome() -> tuple[AnyPanel, ...]:
    under_way = (
        f"label_replace({series('abserve_rollout_running', DEPLOYMENT)} == 1, "
        '"outcome", "under way", "", "")'
    )
    ended = f"{series('abserve_rollout_outcome', DEPLOYMENT)} == 1"
    return (
        words(
            "Latest decision",
            "CONTINUE: too early to tell. PROMOTE: all that is claimed is shown. ROLLBACK: harm is "
            "shown, or the time is over. INVALID: nothing may be concluded; the log says why.",
            Query(f"{_DECISION} == 1", "{{decision}}"),
            none="none yet",
            runbook="rollout-invalid",
        ),
        words(
            "The rollout",
            "Under way, or how the last one ended.",
            Query(f"{ended} or {under_way}", "{{outcome}}"),
            none="there was none",
        ),
        words(
            "What is compared",
            "Candidate and baseline, and the metric that decides.",
            Query(
                series(_INFO, DEPLOYMENT),
                "{{candidate_version}} against {{baseline_version}}: {{metric}}",
            ),
        ),
        number(
            "Missing",
            "How many things could not be learned at the latest decision. Nothing is promoted "
            "while it is not 0: abserve analyze says what.",
            "short",
            Query(series("abserve_rollout_missing", DEPLOYMENT), "missing"),
            width=3,
            levels=Levels(warn=1, act=3),
            runbook="rollout-not-counting",
        ),
        number(
            "Since the last look",
            "The controller looks every 2 to 30 seconds. If it does not, it is stale: the weights "
            "stay as they are, and nobody rolls a bad candidate back.",
            "s",
            Query(
                f"time() - {series('abserve_rollout_last_look_timestamp_seconds', DEPLOYMENT)}",
                "last look",
            ),
            width=3,
            levels=Levels(warn=60, act=600),
            decimals=0,
            runbook="controller-stale",
        ),
        states(
            "Decisions",
            "When each was the latest one.",
            Query(_DECISION, "{{decision}}"),
            names={0: " ", 1: "decided"},
            width=12,
        ),
        coloured_by_variant(
            lines(
                "Weights",
                "Share of requests that each variant is to get, in percent, as the "
                "SeldonDeployment says. It rises with the steps of the experiment, and goes to 100 "
                "or 0 with the decision.",
                "percent",
                Query(_WEIGHT, "{{variant}}"),
                maximum=100,
            )
        ),
    )


def _effect() -> tuple[AnyPanel, ...]:
    effect = series("abserve_rollout_effect", DEPLOYMENT)
    info = series(_INFO, DEPLOYMENT)
    lower = series("abserve_rollout_effect_lower", DEPLOYMENT)
    upper = series("abserve_rollout_effect_upper", DEPLOYMENT)
    # In the beginning it is everything that there can be, and would flatten all that comes after.
    tells = f"{upper} - {lower} < 1"
    primary = f"{effect} and on ({_OF_ONE_METRIC}) {info}"
    guardrails = f"{effect} unless on ({_OF_ONE_METRIC}) {info}"
    return (
        banded(
            lines(
                "Effect on the primary metric",
                "Candidate - baseline. The band holds the true effect at all times with "
                "probability 1 - alpha, however often one looks. All of it above 0: better, unless "
                "the experiment says that lower is. It is drawn once it is narrower than 100 "
                "points, and narrows with every block.",
                "percentunit",
                Query(primary, "effect"),
                Query(f"{lower} and on ({_OF_ONE_METRIC}) ({tells})", "at least"),
                Query(f"{upper} and on ({_OF_ONE_METRIC}) ({tells})", "at most"),
                minimum=None,
                bar=0,
            ),
            upper="at most",
            lower="at least",
        ),
        lines(
            "Effect on each guardrail",
            "Candidate - baseline, of what may veto. Worse is above 0 for errors and refusals, "
            "below it for latency, which is the share of answers in time, and either side of it "
            "for the share of a predicted class. Whether harm is shown stands below.",
            "percentunit",
            Query(guardrails, "{{metric}}"),
            minimum=None,
            bar=0,
        ),
    )


def _on_the_way(question: str) -> Query:
    asked = f'question="{question}"'
    evidence = series("abserve_rollout_evidence", DEPLOYMENT, asked)
    needed = series("abserve_rollout_evidence_bar", DEPLOYMENT, asked)
    return Query(f"{evidence} / {needed}", "{{statement}}")


def _evidence() -> tuple[AnyPanel, ...]:
    return (
        lines(
            "Evidence for each claim, as a share of its bar",
            "The logarithm of the e-value, over that of 1 / alpha. The candidate is promoted when "
            "all have reached 100 %. Below 0: so far the data speak against it. What is beyond the "
            "edges stands in the legend.",
            "percentunit",
            _on_the_way("claim"),
            minimum=-1,
            maximum=2,
            bar=1,
        ),
        lines(
            "Evidence of each harm, as a share of its bar",
            "The same of what would be a reason to roll back. One that reaches 100 % is enough.",
            "percentunit",
            _on_the_way("harm"),
            minimum=-1,
            maximum=2,
            bar=1,
            runbook="rollout-harm-likely",
        ),
    )


def _shares() -> tuple[AnyPanel, ...]:
    requests = rate("abserve_requests_total", DEPLOYMENT, over=_OVER)
    observed = f"{total(requests, 'predictor')} / on () group_left () ({total(requests)} > 0)"
    evidence = series("abserve_rollout_sample_ratio_evidence", DEPLOYMENT)
    needed = series("abserve_rollout_sample_ratio_evidence_bar", DEPLOYMENT)
    units = "abserve_rollout_units"
    return (
        coloured_by_variant(
            lines(
                "Configured and observed share",
                "Dashed: the weights that the SeldonDeployment has. Drawn through: the share of "
                "requests that each predictor counted, over five minutes: so long it takes to "
                "follow new weights. Where units are users, some send more than others.",
                "percentunit",
                Query(f"{_WEIGHT} / 100", "{{variant}}, configured"),
                Query(observed, "{{predictor}}, observed"),
                width=8,
                maximum=1,
            ),
            dashed="/configured/",
        ),
        lines(
            "Evidence of a sample ratio mismatch, as a share of its bar",
            "That units do not arrive in the configured weights. At 100 % the routing, the "
            "counting or the join is at fault, and no effect may be read: the decision is INVALID.",
            "percentunit",
            Query(f"{evidence} / {needed}", "sample ratio"),
            width=8,
            minimum=None,
            bar=1,
            runbook="sample-ratio-mismatch",
        ),
        lines(
            "Units of this rollout",
            "Units that arrived at each variant, over all blocks. Flat: nothing is counted - see "
            "what is missing.",
            "short",
            Query(series(units, DEPLOYMENT), "{{variant}}"),
            width=8,
            runbook="rollout-not-counting",
        ),
    )


def _variants() -> tuple[AnyPanel, ...]:
    by, name = "predictor", "{{predictor}}"
    failed = rate("abserve_requests_total", DEPLOYMENT, 'outcome="failed"', over=_OVER)
    counted = rate("abserve_requests_total", DEPLOYMENT, 'outcome=~"ok|failed"', over=_OVER)
    truth = "abserve_feedback_total"
    right = total(increase(truth, DEPLOYMENT, _RIGHT, over="1h"), BY_ABOUT)
    known = total(increase(truth, DEPLOYMENT, _KNOWN, over="1h"), BY_ABOUT)
    return (
        lines(
            "Accuracy of the last hour",
            "Of the rows whose ground truth came in the last hour. For the eye: the effect above "
            "compares within blocks, and this does not.",
            "percentunit",
            Query(share(right, known), ABOUT_VERSION),
            width=8,
            minimum=None,
            maximum=1,
        ),
        lines(
            "Failed requests",
            "Share of requests that failed by our fault, over five minutes.",
            "percentunit",
            Query(share(total(failed, by), total(counted, by)), name),
            width=8,
        ),
        lines(
            "95 % are faster than",
            "From the parsed request to its answer.",
            "s",
            Query(quantile(0.95, "abserve_inference_seconds", DEPLOYMENT, by=by), name),
            width=8,
        ),
    )
