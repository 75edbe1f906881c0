"""Telling TensorBoard, Weights & Biases, MLflow and trackio of a run: what a recipe lists under `loggers`.

    metrics.jsonl -> follow (what is new, each update once) -> Tool (one stage is one run of the tool)

The run's records stay the truth: a tool that fails is given up with a note and told the rest when the run is resumed.
Each tool is in a file of its own, which alone imports it. Nothing here is needed by a report.
"""

from rlreason.loggers.follow import Loggers, open_loggers

__all__ = ["Loggers", "open_loggers"]
