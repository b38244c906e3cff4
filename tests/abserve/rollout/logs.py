"""Audit logs of rollouts that never were."""

from pathlib import Path

from abserve.analysis import Counts, Experiment, ObservedBlock
from abserve.rollout.audit import AuditWriter, log_folder
from abserve.rollout.records import Begin, Counted, InForce, Labelled, SetWeights
from tests.abserve.rollout.recorded import NOON

EVEN_WEIGHTS = {"baseline": 50, "candidate": 50}


def write_log(home: Path, candidate: str = "v2", at: float = NOON, name: str = "iris") -> Path:
    """Write the log of a rollout of five blocks, in which the candidate is plainly better."""
    experiment = Experiment.model_validate(
        {
            "deployment": name,
            "primary": {"metric": "accuracy"},
            "interval_seconds": 10,
            "maturity_seconds": 30,
            "maximum_seconds": 86400,
            "weight_steps": [50],
            "step_seconds": 60,
        }
    )
    begin = Begin(
        at=at,
        namespace="shop",
        uid="u-1",
        model="iris",
        experiment=experiment,
        model_uris={
            "baseline": "s3://models/iris/v1",
            "candidate": f"s3://models/iris/{candidate}",
        },
        weights=EVEN_WEIGHTS,
        classes=("setosa", "virginica"),
        software={},
    )
    writer = AuditWriter.create(log_folder(home, "shop", "iris"), begin)
    writer.append(SetWeights(at=at, weights=EVEN_WEIGHTS))
    writer.append(InForce(at=at, generation=1))
    for number in range(1, 6):
        ended_at = at + 10 * number
        units = Counts(500, 0, 500, 0)
        block = ObservedBlock(number, ended_at - 10, ended_at, 50.0, units)
        writer.append(Counted(at=ended_at, block=block))
        writer.append(Labelled(at=ended_at, number=number, counts=Counts(500, 400, 500, 450)))
    return writer.path
