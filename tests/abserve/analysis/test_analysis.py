import math
from dataclasses import replace

import pytest

from abserve.analysis import (
    Analysis,
    Counts,
    Observed,
    ObservedBlock,
    Question,
    analyse,
    analyse_counts,
    compare,
)
from abserve.errors import ExperimentError
from abserve.experiment import Action, Blocks, Interval, Rules, effect, interval, log_evidence
from tests.abserve.analysis.values import (
    BETTER,
    DRIFT,
    ERRORS,
    EVEN,
    LATENCY,
    REJECTIONS,
    WORSE,
    counts,
    experiment,
    observed,
    repeated,
)

FEW_ERRORS = counts(1, 1)
CLASSES = ("setosa", "virginica")


def statements(analysis: Analysis) -> list[tuple[str, str]]:
    return [
        (claim.statement, harm.statement)
        for claim, harm in zip(analysis.claims, analysis.harms, strict=True)
    ]


def test_a_better_candidate_is_promoted() -> None:
    analysis = analyse(experiment(), observed(*repeated(5, accuracy=counts(*BETTER))))
    assert analysis.decision.action is Action.PROMOTE
    assert analysis.effect == pytest.approx(0.1)
    assert (analysis.n_blocks, analysis.n_baseline, analysis.n_candidate) == (5, 2500, 2500)


def test_a_worse_candidate_is_rolled_back() -> None:
    analysis = analyse(experiment(), observed(*repeated(5, accuracy=counts(*WORSE))))
    assert analysis.decision.action is Action.ROLLBACK


def test_an_equal_candidate_is_waited_for() -> None:
    analysis = analyse(experiment(), observed(*repeated(5, accuracy=counts(*EVEN))))
    assert analysis.decision.action is Action.CONTINUE


def test_an_equal_candidate_is_not_worse() -> None:
    stated = experiment(primary={"metric": "accuracy", "claim": "non-inferiority", "margin": 0.05})
    analysis = analyse(stated, observed(*repeated(20, accuracy=counts(*EVEN))))
    assert analysis.decision.action is Action.PROMOTE
    assert analysis.log_evidence.superiority == 0.0


def test_evidence_is_that_of_the_primary_metrics_blocks() -> None:
    stated = experiment(primary={"metric": "accuracy", "claim": "non-inferiority", "margin": 0.05})
    analysis = analyse(stated, observed(*repeated(5, accuracy=counts(*BETTER))))
    blocks = Blocks.from_columns(50, [500] * 5, [400] * 5, [500] * 5, [450] * 5)
    told = analysis.log_evidence
    assert told.superiority == log_evidence(blocks, 0.0)[-1]
    assert told.non_inferiority == log_evidence(blocks, -0.05)[-1]
    assert told.harm == log_evidence(blocks, -0.05, "less")[-1]
    assert (analysis.effect, analysis.interval) == (effect(blocks), interval(blocks, 0.05))


def test_a_lower_reward_can_be_the_better_one() -> None:
    stated = experiment(primary={"metric": "reward", "direction": "lower"})
    analysis = analyse(stated, observed(*repeated(5, reward=counts(*WORSE))))
    assert analysis.decision.action is Action.PROMOTE
    assert analysis.effect == pytest.approx(-0.1)
    assert statements(analysis) == [
        ("its reward is lower than the baseline's", "its reward is higher than the baseline's")
    ]


def test_where_lower_is_better_a_rise_is_the_harm() -> None:
    stated = experiment(primary={"metric": "reward", "direction": "lower"})
    analysis = analyse(stated, observed(*repeated(5, reward=counts(*BETTER))))
    assert analysis.decision.action is Action.ROLLBACK


def test_where_lower_is_better_the_margin_is_above_the_baseline() -> None:
    stated = experiment(
        primary={
            "metric": "reward",
            "direction": "lower",
            "claim": "non-inferiority",
            "margin": 0.05,
        }
    )
    analysis = analyse(stated, observed(*repeated(20, reward=counts(*EVEN))))
    assert analysis.decision.action is Action.PROMOTE
    assert statements(analysis) == [
        (
            "its reward is less than 0.05 above the baseline's",
            "its reward is more than 0.05 above the baseline's",
        )
    ]


def test_lower_is_better_mirrors_higher_is_better() -> None:
    lower = experiment(primary={"metric": "reward", "direction": "lower"})
    falling = analyse(lower, observed(*repeated(4, reward=counts(450, 400))))
    higher = experiment(primary={"metric": "reward"})
    rising = analyse(higher, observed(*repeated(4, reward=counts(50, 100))))
    assert falling.log_evidence.superiority == pytest.approx(rising.log_evidence.superiority)
    assert falling.log_evidence.harm == pytest.approx(rising.log_evidence.harm)


@pytest.mark.parametrize(
    ("guardrail", "good", "bad"),
    [
        (
            ERRORS,
            "its error rate is less than 0.01 above the baseline's",
            "its error rate is more than 0.01 above the baseline's",
        ),
        (
            REJECTIONS,
            "its rejection rate is less than 0.02 above the baseline's",
            "its rejection rate is more than 0.02 above the baseline's",
        ),
        (
            LATENCY,
            "its share of answers within 0.05 s is less than 0.02 below the baseline's",
            "its share of answers within 0.05 s is more than 0.02 below the baseline's",
        ),
    ],
    ids=["error_rate", "rejection_rate", "latency"],
)
def test_a_guardrail_is_a_claim_and_a_harm(
    guardrail: dict[str, object], good: str, bad: str
) -> None:
    analysis = analyse(experiment(guardrails=[guardrail]), observed())
    assert statements(analysis)[1:] == [(good, bad)]


@pytest.mark.parametrize(
    ("guardrail", "within", "beyond"),
    [(ERRORS, (1, 1), (1, 60)), (REJECTIONS, (1, 1), (1, 80)), (LATENCY, (490, 490), (490, 400))],
    ids=["error_rate", "rejection_rate", "latency"],
)
def test_a_guardrail_lets_pass_what_is_within_its_margin_and_nothing_beyond(
    guardrail: dict[str, str], within: tuple[int, int], beyond: tuple[int, int]
) -> None:
    stated = experiment(guardrails=[guardrail])
    better = {"accuracy": counts(*BETTER)}
    metric = guardrail["metric"]
    kept = observed(*[{**better, metric: counts(*within)}] * 20)
    broken = observed(*[{**better, metric: counts(*beyond)}] * 20)
    assert analyse(stated, kept).decision.action is Action.PROMOTE
    assert analyse(stated, broken).decision.action is Action.ROLLBACK


def test_each_class_may_move_neither_up_nor_down() -> None:
    stated = experiment(guardrails=[DRIFT])
    analysis = analyse(stated, observed(classes=CLASSES))
    assert [claim for claim, _ in statements(analysis)[1:]] == [
        "its share of predictions 'setosa' is less than 0.05 below the baseline's",
        "its share of predictions 'setosa' is less than 0.05 above the baseline's",
        "its share of predictions 'virginica' is less than 0.05 below the baseline's",
        "its share of predictions 'virginica' is less than 0.05 above the baseline's",
    ]


@pytest.mark.parametrize("k_candidate", [100, 300], ids=["down", "up"])
def test_a_class_that_moves_either_way_is_a_harm(k_candidate: int) -> None:
    stated = experiment(guardrails=[DRIFT])
    known = {
        "accuracy": counts(*BETTER),
        "prediction_drift:setosa": counts(200, k_candidate),
        "prediction_drift:virginica": counts(300, 500 - k_candidate),
    }
    analysis = analyse(stated, observed(*[known] * 10, classes=CLASSES))
    assert analysis.decision.action is Action.ROLLBACK


def test_classes_that_stay_do_not_stand_in_the_way() -> None:
    stated = experiment(guardrails=[DRIFT])
    known = {
        "accuracy": counts(*BETTER),
        "prediction_drift:setosa": counts(200, 200),
        "prediction_drift:virginica": counts(300, 300),
    }
    analysis = analyse(stated, observed(*[known] * 20, classes=CLASSES))
    assert analysis.decision.action is Action.PROMOTE


def test_a_drift_of_classes_that_nobody_knows_is_missing() -> None:
    stated = experiment(guardrails=[DRIFT])
    analysis = analyse(stated, observed(*repeated(5, accuracy=counts(*BETTER))))
    assert analysis.decision.action is Action.CONTINUE
    assert analysis.decision.reasons == (
        "no class is known that the versions predict, so nothing of prediction drift is",
    )


def test_the_bar_of_a_harm_rises_with_their_number() -> None:
    stated = experiment(guardrails=[ERRORS, LATENCY, DRIFT])
    analysis = analyse(stated, observed(classes=CLASSES))
    assert [claim.log_bar for claim in analysis.claims] == pytest.approx([math.log(20)] * 7)
    # The primary metric's, two guardrails', and two of each class.
    assert [harm.log_bar for harm in analysis.harms] == pytest.approx([math.log(7 * 20)] * 7)


def test_before_the_first_block_there_is_nothing_to_tell() -> None:
    analysis = analyse(experiment(), observed())
    assert analysis.decision.action is Action.CONTINUE
    assert analysis.decision.reasons == (
        "it cannot be said whether its accuracy is higher than the baseline's: nothing was counted",
    )
    assert (analysis.effect, analysis.interval) == (None, Interval(-1.0, 1.0))
    assert set(analysis.to_json()["log_evidence"].values()) == {None}


def test_a_guardrail_that_was_never_counted_stands_in_the_way() -> None:
    stated = experiment(guardrails=[ERRORS])
    analysis = analyse(stated, observed(*repeated(5, accuracy=counts(*BETTER))))
    assert analysis.decision.action is Action.CONTINUE
    assert "nothing was counted" in analysis.decision.reasons[0]


def test_a_guardrail_that_disappears_stands_in_the_way_though_it_was_shown() -> None:
    stated = experiment(guardrails=[ERRORS])
    known = {"accuracy": counts(*BETTER), "error_rate": FEW_ERRORS}
    assert analyse(stated, observed(*[known] * 20)).decision.action is Action.PROMOTE
    disappeared = observed(*[known] * 20, {"accuracy": counts(*BETTER)})
    analysis = analyse(stated, disappeared)
    assert analysis.decision.action is Action.CONTINUE
    assert analysis.decision.reasons == ("of the latest block, 21, is not known: error rate",)


def test_units_that_are_known_in_part_stand_in_the_way() -> None:
    seen = observed(*repeated(5, accuracy=counts(*BETTER)))
    last = replace(seen.blocks[-1], units=None)
    analysis = analyse(experiment(), replace(seen, blocks=(*seen.blocks[:-1], last)))
    assert analysis.decision.action is Action.CONTINUE
    assert analysis.decision.reasons == (
        "of the latest block, 5, is not known: the number of units",
    )


def test_labels_that_are_still_to_come_do_not_stand_in_the_way() -> None:
    analysis = analyse(experiment(), observed(*repeated(5, accuracy=counts(*BETTER)), {}, {}))
    assert analysis.decision.action is Action.PROMOTE


def test_nothing_is_promoted_on_what_is_missing() -> None:
    seen = observed(*repeated(5, accuracy=counts(*BETTER)), missing=("Prometheus is down",))
    analysis = analyse(experiment(), seen)
    assert (analysis.decision.action, analysis.decision.reasons) == (
        Action.CONTINUE,
        ("Prometheus is down",),
    )


def test_what_is_missing_does_not_hold_up_a_rollback() -> None:
    seen = observed(*repeated(5, accuracy=counts(*WORSE)), missing=("Prometheus is down",))
    assert analyse(experiment(), seen).decision.action is Action.ROLLBACK


def test_interference_makes_it_invalid_whatever_is_shown() -> None:
    seen = observed(*repeated(5, accuracy=counts(*WORSE)), interference=("the weights changed",))
    analysis = analyse(experiment(), seen)
    assert (analysis.decision.action, analysis.decision.reasons) == (
        Action.INVALID,
        ("the weights changed",),
    )


def test_blocks_without_units_of_both_variants_show_nothing() -> None:
    alone = Counts(500, 400, 0, 0)
    analysis = analyse(experiment(), observed(*repeated(3, accuracy=alone)))
    assert analysis.decision.action is Action.CONTINUE
    assert analysis.log_evidence.superiority == 0.0
    assert analysis.decision.reasons[-1].startswith("no block has units of both variants")


def with_units(*units: tuple[int, int]) -> Observed:
    blocks = tuple(
        ObservedBlock(
            number,
            60.0 * number,
            60.0 * number + 60,
            50.0,
            Counts(n_baseline, 0, n_candidate, 0),
            {"accuracy": counts(*BETTER)},
        )
        for number, (n_baseline, n_candidate) in enumerate(units)
    )
    return Observed(blocks, 60.0 * len(blocks))


def test_the_sample_ratio_is_that_of_the_units_that_arrived() -> None:
    analysis = analyse(experiment(), with_units((5200, 4800)))
    assert analysis.log_evidence.sample_ratio == pytest.approx(5.6136134)


def test_a_sample_ratio_mismatch_stays_one_when_more_units_arrive() -> None:
    mended = with_units((6000, 5000), (5000, 6000))
    analysis = analyse(experiment(), mended)
    assert analysis.decision.action is Action.INVALID
    assert analysis.log_evidence.sample_ratio is not None
    assert analysis.sample_ratio is not None
    assert analysis.log_evidence.sample_ratio < 0 < analysis.sample_ratio.log_bar
    assert analysis.sample_ratio.shown


def test_units_count_for_the_minimum_if_they_have_an_outcome() -> None:
    seen = observed(*repeated(5, accuracy=counts(40, 50, n=50)))
    analysis = analyse(experiment(minimum_units=300), seen)
    assert analysis.decision.action is Action.CONTINUE
    assert "250 of at least 300 units" in analysis.decision.reasons[0]


def test_when_time_is_over_the_baseline_stays() -> None:
    seen = observed(*repeated(5, accuracy=counts(*EVEN)), elapsed_seconds=86400.0)
    assert analyse(experiment(), seen).decision.action is Action.ROLLBACK


def test_counts_that_cannot_be_are_refused() -> None:
    with pytest.raises(ExperimentError, match="k_candidate is 600"):
        analyse(experiment(), observed({"accuracy": counts(400, 600)}))


def test_blocks_that_contradict_each_other_have_no_interval() -> None:
    blocks = Blocks.from_columns(50, [1, 1000, 100], [1, 475, 50], [1000, 100, 100], [514, 6, 99])
    analysis = analyse_counts(blocks, Rules())
    assert analysis.interval is None
    assert analysis.to_json()["interval"] is None


def test_bare_counts_are_a_success_rate() -> None:
    analysis = analyse_counts(Blocks.from_columns(50, 500, [400] * 5, 500, [450] * 5), Rules())
    assert (analysis.metric, analysis.decision.action) == ("success_rate", Action.PROMOTE)
    assert analysis.decision.reasons[0].startswith(
        "it is shown that its success rate is higher than the baseline's"
    )


def test_bare_counts_may_be_asked_for_non_inferiority() -> None:
    even = Blocks.from_columns(50, 500, [400] * 20, 500, [400] * 20)
    assert analyse_counts(even, Rules()).decision.action is Action.CONTINUE
    assert analyse_counts(even, Rules(), margin=0.05).decision.action is Action.PROMOTE


def test_an_answer_is_json_of_numbers_words_and_null() -> None:
    blocks = Blocks.from_columns(50, 500, [400], 500, [450])
    answer, found = analyse_counts(blocks, Rules()).to_json(), interval(blocks)
    assert found is not None
    assert answer["decision"] == "CONTINUE"
    assert answer["interval"] == [found.lower, found.upper]
    assert answer["log_evidence"].keys() == {
        "superiority",
        "non_inferiority",
        "harm",
        "sample_ratio",
    }
    assert answer["claims"] == [
        {
            "metric": "success_rate",
            "statement": "its success rate is higher than the baseline's",
            "log_evidence": 0.0,
            "log_bar": pytest.approx(math.log(20)),
            "effect": pytest.approx(0.1),
        }
    ]


def test_of_counts_that_cannot_be_read_nothing_is_told_but_why() -> None:
    answer = Analysis.invalid("success_rate", Rules(), ("line 2: no number",)).to_json()
    assert answer["decision"] == "INVALID"
    assert answer["reasons"] == ["line 2: no number"]
    assert (answer["effect"], answer["interval"]) == (None, None)
    assert set(answer["log_evidence"].values()) == {None}


def test_a_question_is_answered_after_each_block_that_knows_its_metric() -> None:
    seen = observed({"accuracy": counts(*BETTER)}, {}, {"accuracy": counts(*BETTER)})
    question: Question = compare(experiment(), seen).claims[0]
    assert question.log_evidence().size == 2
    assert question.counted.ended.tolist() == [60.0, 180.0]
