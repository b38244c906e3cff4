"""The experiment as the console has seen it: one block per interval, and what follows from them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from abserve.experiment import (
    SAMPLE_RATIO_BAR,
    Block,
    Blocks,
    Evidence,
    SampleRatio,
    effect,
    interval,
)
from abserve.telemetry import VersionCounts

ALPHA = 0.05
BAR = -math.log(ALPHA)
RATIO_BAR = math.log(SAMPLE_RATIO_BAR)

# A day of blocks of ten seconds; then it begins anew, so that memory and time stay bounded.
_MAX_BLOCKS = 8640
_MAX_POINTS = 360

_NOTHING = VersionCounts()


@dataclass(frozen=True, slots=True)
class Setting:
    """What a block is counted under: while it holds, both versions see the same requests.

    `weight_candidate` is the candidate's share of the two variants' requests, in percent.
    """

    generation: int
    baseline: str
    candidate: str
    weight_candidate: float


@dataclass(frozen=True, slots=True)
class Totals:
    """What was counted until a moment: requests of the two variants, ground truth by version."""

    n_baseline: int
    n_candidate: int
    judged: Mapping[str, VersionCounts]


@dataclass(frozen=True, slots=True)
class EvidencePoint:
    """What could be said after a block.

    `better` and `worse` are the evidence, in nats, that the candidate's accuracy is above or below
    the baseline's; `effect` is the difference, `lower` to `upper` its confidence sequence. None
    where nothing can be said.
    """

    at: float
    better: float
    worse: float
    effect: float | None
    lower: float | None
    upper: float | None


class EvidenceLog:
    """Blocks of feedback on two versions, one after the other."""

    def __init__(self) -> None:
        self._before: tuple[Setting, Totals] | None = None
        self._begin(0.0)

    def _begin(self, at: float) -> None:
        self.began = at
        self._blocks: list[Block] = []
        self._better = Evidence(0.0, "greater")
        self._worse = Evidence(0.0, "less")
        self._ratio = SampleRatio()
        self.points: list[EvidencePoint] = []

    @property
    def n_baseline(self) -> int:
        return int(self._better.n_baseline)

    @property
    def n_candidate(self) -> int:
        return int(self._better.n_candidate)

    @property
    def versions(self) -> tuple[str, str] | None:
        """The baseline's and the candidate's version; None while there are not two."""
        return (self._before[0].baseline, self._before[0].candidate) if self._before else None

    @property
    def sample_ratio(self) -> float:
        """Evidence, in nats, that the requests did not arrive in the configured weights."""
        return self._ratio.log_e

    def end_block(self, at: float, setting: Setting | None, totals: Totals) -> None:
        """End a block, under the setting and with the totals of this moment.

        A block that began under another setting is dropped: which requests its labels belong to
        cannot be told. Other versions are another experiment, which begins with nothing.
        """
        before, self._before = self._before, None if setting is None else (setting, totals)
        if setting is None:
            return
        if before is None or _versions(before[0]) != _versions(setting):
            self._begin(at)
        elif before[0] == setting:
            self._ratio = self._ratio.add(_requests(setting, before[1], totals))
            block = _feedback(setting, before[1].judged, totals.judged)
            if block.n_baseline or block.n_candidate:
                self._add(at, block)

    def _add(self, at: float, block: Block) -> None:
        if len(self._blocks) == _MAX_BLOCKS:
            self._begin(at)
        self._blocks.append(block)
        self._better = self._better.add(block)
        self._worse = self._worse.add(block)
        blocks = Blocks.of(self._blocks)
        found = interval(blocks, ALPHA)
        if len(self.points) == _MAX_POINTS:
            self.points = self.points[::2]
        self.points.append(
            EvidencePoint(
                at=at,
                better=self._better.log_e,
                worse=self._worse.log_e,
                effect=effect(blocks),
                lower=found.lower if found else None,
                upper=found.upper if found else None,
            )
        )


def _versions(setting: Setting) -> tuple[str, str]:
    return setting.baseline, setting.candidate


def _requests(setting: Setting, before: Totals, after: Totals) -> Block:
    return Block(
        setting.weight_candidate,
        n_baseline=after.n_baseline - before.n_baseline,
        k_baseline=0,
        n_candidate=after.n_candidate - before.n_candidate,
        k_candidate=0,
    )


def _feedback(
    setting: Setting, before: Mapping[str, VersionCounts], after: Mapping[str, VersionCounts]
) -> Block:
    baseline, candidate = (
        after.get(version, _NOTHING) - before.get(version, _NOTHING)
        for version in _versions(setting)
    )
    return Block(
        setting.weight_candidate,
        n_baseline=baseline.n_feedback,
        k_baseline=baseline.n_correct,
        n_candidate=candidate.n_feedback,
        k_candidate=candidate.n_correct,
    )
