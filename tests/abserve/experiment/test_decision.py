import math

import pytest

from abserve.errors import ExperimentError
from abserve.experiment import Action, Claim, Decision, Findings, Rules, decide

BAR = math.log(20)
SHOWN = Claim("its accuracy is higher than the baseline's", BAR)
NOT_YET = Claim("its accuracy is higher than the baseline's", math.log(3.1))
GUARDED = Claim("its error rate is at most 0.01 above the baseline's", 7.0)
NOT_GUARDED = Claim("its error rate is at most 0.01 above the baseline's", -1.0)
NO_HARM = Claim("its accuracy is lower than the baseline's", -4.0)


def decided(
    *claims: Claim,
    harms: tuple[Claim, ...] = (NO_HARM,),
    log_sample_ratio: float = 0.0,
    n_candidate: int = 2000,
    seconds: float = 600.0,
    interference: tuple[str, ...] = (),
    rules: Rules | None = None,
) -> Decision:
    findings = Findings(claims, harms, log_sample_ratio, 3000, n_candidate, seconds, interference)
    return decide(findings, rules or Rules())


def test_candidate_is_promoted_when_every_claim_reaches_its_bar() -> None:
    decision = decided(SHOWN, GUARDED)
    assert decision.action is Action.PROMOTE
    assert decision.reasons == (
        "it is shown that its accuracy is higher than the baseline's: e-value 20.0, 20 needed",
        "it is shown that its error rate is at most 0.01 above the baseline's: "
        "e-value 1096.6, 20 needed",
    )


def test_guardrail_that_is_not_shown_withholds_the_promotion() -> None:
    decision = decided(SHOWN, NOT_GUARDED)
    assert decision.action is Action.CONTINUE
    assert decision.reasons == (
        "it is not yet shown that its error rate is at most 0.01 above the baseline's: "
        "e-value 0.37, 20 needed",
    )


def test_evidence_just_below_the_bar_does_not_promote() -> None:
    assert decided(Claim("it is better", BAR - 1e-9)).action is Action.CONTINUE


def test_metric_without_counts_withholds_the_promotion() -> None:
    decision = decided(SHOWN, Claim("it is as fast", None))
    assert decision.action is Action.CONTINUE
    assert decision.reasons == ("it cannot be said whether it is as fast: nothing was counted",)


def test_promotion_waits_for_units_of_each_variant_and_for_time() -> None:
    rules = Rules(minimum_units=2500, minimum_seconds=3600)
    decision = decided(SHOWN, rules=rules)
    assert decision.action is Action.CONTINUE
    assert decision.reasons == (
        "the candidate has 2000 of at least 2500 units that can be judged",
        "600 of at least 3600 seconds have passed",
    )
    assert decided(SHOWN, n_candidate=2500, seconds=3600, rules=rules).action is Action.PROMOTE


def test_harm_rolls_back_before_anything_is_promoted_and_without_waiting() -> None:
    harm = Claim("its error rate is higher than the baseline's", 5.0)
    decision = decided(SHOWN, harms=(harm,), rules=Rules(minimum_units=10**6))
    assert decision.action is Action.ROLLBACK
    assert decision.reasons == (
        "it is shown that its error rate is higher than the baseline's: e-value 148.4, 20 needed",
    )


@pytest.mark.parametrize(
    ("log_e", "action"),
    [(math.log(59.9), Action.CONTINUE), (math.log(60.1), Action.ROLLBACK)],
)
def test_harm_bar_rises_with_the_number_of_harms(log_e: float, action: Action) -> None:
    harms = (Claim("it is worse", log_e), NO_HARM, Claim("it is slower", None))
    assert decided(NOT_YET, harms=harms).action is action


def test_units_that_arrived_otherwise_than_configured_invalidate_everything() -> None:
    harm = Claim("it is worse", 50.0)
    decision = decided(SHOWN, harms=(harm,), log_sample_ratio=math.log(1000))
    assert decision.action is Action.INVALID
    assert decision.reasons == (
        "units did not arrive in the configured weights: e-value 1000.0, 1000 is proof; find "
        "out whether routing or counting is at fault, then start the experiment anew",
    )
    assert decided(SHOWN, log_sample_ratio=math.log(999)).action is Action.PROMOTE


def test_interference_invalidates_and_is_told() -> None:
    changed = "the candidate's version was changed from v2 to v3 at 10:04 by somebody else"
    decision = decided(SHOWN, interference=(changed,))
    assert decision == Decision(Action.INVALID, (changed,))


def test_baseline_stays_when_the_time_is_over() -> None:
    rules = Rules(maximum_seconds=600)
    decision = decided(NOT_YET, rules=rules)
    assert decision.action is Action.ROLLBACK
    assert decision.reasons == (
        "the time of 600 seconds is over, so the baseline stays",
        "it is not yet shown that its accuracy is higher than the baseline's: "
        "e-value 3.1, 20 needed",
    )
    assert decided(SHOWN, rules=rules).action is Action.PROMOTE


@pytest.mark.parametrize(("log_e", "told"), [(1e5, "above 1000000"), (-1e5, "below 0.001")])
def test_extreme_evidence_is_told_in_few_digits(log_e: float, told: str) -> None:
    reason = decided(Claim("it is better", log_e)).reasons[0]
    assert reason.endswith(f"e-value {told}, 20 needed")


def test_nothing_to_show_is_refused() -> None:
    with pytest.raises(ExperimentError, match="no claim is to be shown"):
        decided()


@pytest.mark.parametrize("log_e", [math.nan, math.inf, -math.inf])
def test_evidence_that_is_no_number_is_refused(log_e: float) -> None:
    with pytest.raises(ExperimentError, match=r"evidence that it is better is .* finite number"):
        Claim("it is better", log_e)


@pytest.mark.parametrize("alpha", [0.0, 1.0, math.nan])
def test_alpha_that_is_no_probability_of_error_is_refused(alpha: float) -> None:
    with pytest.raises(ExperimentError, match=r"alpha is .* between 0 and 1"):
        Rules(alpha=alpha)


def test_negative_number_of_units_is_refused() -> None:
    with pytest.raises(ExperimentError, match="minimum number of units is -1"):
        Rules(minimum_units=-1)


def test_minimum_beyond_the_maximum_is_refused() -> None:
    with pytest.raises(ExperimentError, match="from 60 to 30 seconds; expected a minimum"):
        Rules(minimum_seconds=60, maximum_seconds=30)
