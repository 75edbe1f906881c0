"""What report.json is, as a published JSON Schema: the file beside this module, and `rlreason schema --report`.

`report.schema.json` is written from the models here (`python -m rlreason.report.schema` prints it), and a test holds
every report against it. Keys may be added without a new version; what is listed here stays.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

REPORT_VERSION = 1
"""Rises when a key is taken away or comes to mean something else."""
FILE = "report.schema.json"

Share = Annotated[float, Field(ge=0, le=1)]
Interval = Annotated[list[float], Field(min_length=2, max_length=2)]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="allow", use_attribute_docstrings=True)


class Level(_Entry):
    """One arm on one level or probe, its seeds pooled."""

    n: int
    """Problems."""
    pass_at_1: Share
    """Share of problems whose greedy completion has the right answer."""
    ci95: Interval
    """Its Wilson interval over problems: [low, high]."""
    pass_at_k: dict[str, Share]
    """k -> share of problems that one of k samples solves, unbiased."""
    pass_at_k_ci95: dict[str, Interval]
    """k -> bootstrap interval over problems."""
    derived_at_k: dict[str, Share] = {}
    """k -> share of problems that one of k samples solves with every step right; empty where steps were not checked."""
    derived_at_k_ci95: dict[str, Interval] = {}
    samples: int
    """Samples of the problem that has fewest."""
    derivation_correct: Share | None
    """Share of greedy completions with every step right; null: steps were not checked."""
    derivation_correct_ci95: Interval | None
    right_answer_wrong_steps: Share | None
    """Of the right greedy answers, the share with steps that are not right."""
    unscored: int
    """Completions without a verdict; they count as not right."""
    completions: int
    chance: Share | None
    """Probability of guessing right."""
    per_seed: dict[str, Share]
    """Seed -> greedy share right."""


class Arm(_Entry):
    """One training history."""

    title: str
    stages: list[str]
    identities: dict[str, list[str]]
    """Seed -> identities of its training stages."""
    levels: dict[str, Level]
    probes: dict[str, Level]


class Difference(_Entry):
    """One measure of a pair of arms on the same problems under the same seeds: first minus second, in [-1, 1]."""

    difference: float
    ci95: Interval
    p: float
    """Two-sided, for this comparison alone."""
    p_corrected: float
    """The same, corrected for all comparisons of the measure (Holm)."""
    test: str
    discordant: Share
    detectable: float
    """The smallest true difference that such an evaluation finds in four cases of five."""


class PairOnLevel(_Entry):
    """One pair of arms on one level."""

    level: str
    arm: str
    against: str
    relation: str
    """"base": the arm goes on from the other; "sibling": both go on from the same."""
    seeds: list[int]
    problems: int
    left_out: int
    k: int | None
    measures: dict[str, Difference]
    """"pass_at_1", "pass_at_k", "derivation_correct": those that were recorded."""


class Pairs(_Entry):
    """All pairs that could be compared, and in words those that could not."""

    scope: str
    comparisons: list[PairOnLevel]
    not_compared: list[str]


class Seconds(_Entry):
    """Wall-clock time; null: not finished."""

    wall: float | None
    stages: dict[str, float | None]


class Report(_Entry):
    """report.json of rlreason. Shares are in [0, 1], times in seconds, intervals [low, high] at 95%."""

    report_version: int
    recipe: str
    description: str
    arms: dict[str, Arm]
    """In the recipe's order."""
    training: dict[str, Any]
    """Identity of a training stage -> its metrics before and after."""
    scorers: dict[str, Any]
    paired: Pairs
    seconds: Seconds
    stages: dict[str, Any]
    versions: dict[str, str]
    provenance: dict[str, Any]
    """Commit, seeds, hardware, when it ran and by which command."""
    missing: list[str]
    """What the report lacks, one sentence each."""
    unclean: list[str]
    """Why the figures cannot be traced to their code and records; empty where they can."""
    cautions: list[str]
    """What else to know before believing a figure."""
    curricula: dict[str, Any] = {}
    ledger: dict[str, Any] = {}
    """What arms and stages spent, and how near controls came to their partners' budgets."""
    pipelines: dict[str, Any] = {}
    """Asynchronous stages: how busy each side was, and how stale what they learned from."""
    incidents: list[Any] = []
    """What broke while the run went on, oldest first."""
    verdict: Any = None
    """The verdicts, where the recipe asks for them."""
    errors: Any = None
    """Where derivations go wrong."""


def make_schema() -> dict[str, Any]:
    """The schema, from the models."""
    schema = Report.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema


def published_schema() -> dict[str, Any]:
    """The schema as it ships."""
    schema: dict[str, Any] = json.loads(files("rlreason.report").joinpath(FILE).read_text(encoding="utf-8"))
    return schema


if __name__ == "__main__":
    print(json.dumps(make_schema(), indent=2))
