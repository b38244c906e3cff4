"""The experiment file, as it lies on a disk or in a mounted ConfigMap."""

from pathlib import Path

from abserve.analysis import Experiment
from abserve.analysis.reading import EXPERIMENT_FILE, read_experiment
from abserve.stated.document import read_text


def load_experiment(path: Path) -> Experiment:
    """Read what an experiment file states.

    Raises
    ------
    ExperimentError
        If the file cannot be read, or states no experiment; then each line of the message is one
        mistake, with file and line.
    """
    return read_experiment(read_text(path, EXPERIMENT_FILE), str(path))
