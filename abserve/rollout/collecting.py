"""Blocks from a history: units and requests when a block ends, outcomes when it is mature.

The history is read at a block's edges and, for the outcomes, at every interval after that until
the block is mature, so that a server that is started again loses the outcomes of one interval at
most. Blocks that follow one another share these moments, each of which is asked for once::

    block 7   ├──────┼──────┼──────┤ mature
    block 8          ├──────┼──────┼──────┤ mature

Units are in slots, by the time they arrived; so they are read a little before the block, and so
late after it that each replica was read since.

What never will be known is noted in the block. What is not known now, because the history does not
answer, is a `TelemetryError`: ask again later, for the past stays as it is.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from math import ceil

from abserve.analysis import Experiment, Observed, ObservedBlock
from abserve.analysis.countable import check_countable, classes_of, incomparable_units
from abserve.analysis.counting import (
    Variants,
    count_guardrails,
    count_outcomes,
    count_units,
)
from abserve.errors import LostCountsError, TelemetryError
from abserve.rollout.history import History
from abserve.slots import N_SLOTS, REACH, period_of
from abserve.telemetry import Reading

# What a sample of a moment has is of a little later: Prometheus waits as long for an answer.
_READING_SECONDS = 10.0


def edge_after(moment: float, experiment: Experiment) -> int:
    """Return the first moment, not before `moment`, at which a block may begin or end."""
    period = period_of(experiment.interval_seconds, experiment.maturity_seconds)
    return ceil(moment / period) * period


class Collector:
    """Counts the blocks of one experiment.

    Parameters
    ----------
    experiment : Experiment
        What is to be counted.
    variants : Variants
        The version of each variant.
    classes : sequence of str
        All that are predicted: `classes_of` before the first block.
    history : History
        Where counts come from.
    lag_seconds : float
        After a block, until each replica was read once more.
    """

    def __init__(
        self,
        experiment: Experiment,
        variants: Variants,
        classes: Sequence[str],
        history: History,
        lag_seconds: float,
    ) -> None:
        self._experiment = experiment
        self._variants = variants
        self._classes = tuple(classes)
        self._lag_seconds = lag_seconds
        # A block with its maturity window takes less than REACH periods, and each ends an interval.
        self._reading = lru_cache(maxsize=2 * REACH)(history.reading)
        self._history = history

    def end_block(
        self, number: int, began_at: float, ended_at: float, weight_candidate: float
    ) -> ObservedBlock:
        """Count the units and the guardrails of a block that ended `lag_seconds` ago.

        Parameters
        ----------
        number : int
            From 1.
        began_at, ended_at : float
            Its edges (`edge_after`), in seconds since 1970.
        weight_candidate : float
            The candidate's share of the two variants' units, in percent.

        Raises
        ------
        TelemetryError
            If the history does not answer; ask again.
        """
        block = ObservedBlock(number, began_at, ended_at, weight_candidate, None)
        try:
            units = count_units(
                self._history.reading(began_at - _READING_SECONDS),
                self._reading_since(began_at, ended_at),
                began_at,
                ended_at,
                self._experiment,
                self._variants,
            )
            guardrails, notes = count_guardrails(
                self._reading(began_at),
                self._reading(ended_at),
                self._experiment,
                self._variants,
                self._classes,
            )
        except LostCountsError as error:
            return replace(block, notes=(str(error),))
        return replace(block, units=units, by_metric=guardrails, notes=notes)

    def matures_at(self, block: ObservedBlock) -> float:
        """Return when the maturity window of a block is over."""
        return block.ended_at + self._experiment.maturity_seconds

    def mature(self, block: ObservedBlock) -> ObservedBlock:
        """Return a block, whose maturity window is over, with its primary metric.

        If that never will be known, it is noted.

        Raises
        ------
        TelemetryError
            If the history does not answer; ask again.
        """
        try:
            readings = list(self._readings(block))
        except LostCountsError as error:
            return replace(block, notes=(*block.notes, str(error)))
        try:
            counts = count_outcomes(
                readings, block.began_at, block.ended_at, self._experiment, self._variants
            )
        except TelemetryError as error:
            return replace(block, notes=(*block.notes, str(error)))
        return replace(
            block, by_metric={**block.by_metric, self._experiment.primary.metric: counts}
        )

    def missing(self, blocks: Sequence[ObservedBlock], now: float) -> tuple[str, ...]:
        """Say what is not known of the newest block, and of the newest that is mature.

        Older blocks that are not known count for nothing, and need not be waited for.
        """
        newest = {block.number: block for block in blocks[-1:]}
        mature = [block for block in blocks if self.matures_at(block) <= now]
        newest |= {block.number: block for block in mature[-1:]}
        return tuple(
            f"block {block.number}: {note}" for block in newest.values() for note in block.notes
        )

    def _reading_since(self, began_at: float, ended_at: float) -> Reading:
        """Return what replicas had counted that were read since the block, and not much later."""
        period = period_of(self._experiment.interval_seconds, self._experiment.maturity_seconds)
        latest = began_at + N_SLOTS * period - _READING_SECONDS
        return self._history.reading(min(ended_at + self._lag_seconds, latest), since=ended_at)

    def _readings(self, block: ObservedBlock) -> Iterator[Reading]:
        yield self._reading(block.began_at)
        moment = block.began_at + self._experiment.interval_seconds
        while moment < self.matures_at(block):
            # The next reading has what this one would have had, unless a server starts between.
            with suppress(LostCountsError):
                yield self._reading(moment)
            moment += self._experiment.interval_seconds
        yield self._reading(self.matures_at(block))


def collect_span(
    experiment: Experiment,
    variants: Variants,
    history: History,
    began_at: float,
    until: float,
    weight_candidate: float,
    lag_seconds: float,
    changed_at: float,
) -> Observed:
    """Count all whole blocks of a span of time in which the weights were not changed.

    Parameters
    ----------
    began_at, until : float
        Not before, and not after, in seconds since 1970.
    weight_candidate : float
        The candidate's share of the two variants' units, in percent.
    lag_seconds : float
        After a block, until each replica was read once more. What is younger is left out.
    changed_at : float
        When somebody last changed the predictors, weights included.

    Raises
    ------
    ExperimentError
        If the servers do not count what the experiment needs.
    TelemetryError
        If the history does not answer, or knows nothing of the present.
    """
    present = history.reading(until)
    check_countable(present, experiment, variants)
    classes = classes_of(present, variants)
    collector = Collector(experiment, variants, classes, history, lag_seconds)
    interval = experiment.interval_seconds
    first = edge_after(began_at, experiment)
    blocks: list[ObservedBlock] = []
    for number in range(1, int((until - lag_seconds - first) // interval) + 1):
        began = first + (number - 1) * interval
        block = collector.end_block(number, began, began + interval, weight_candidate)
        blocks.append(collector.mature(block) if collector.matures_at(block) <= until else block)
    incomparable = incomparable_units(present, experiment, variants, changed_at)
    return Observed(
        tuple(blocks),
        elapsed_seconds=max(until - first, 0.0),
        classes=classes,
        missing=(*collector.missing(blocks, until), *([incomparable] if incomparable else [])),
    )
