"""Problems by the handful, for `rlreason sample` and for evaluation, and how fast a task makes and checks them.

Training stages draw from `Task.problem` themselves; nothing here is random.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Sequence

from rlreason.errors import TaskError
from rlreason.tasks.contract import Task
from rlreason.tasks.registry import build_task
from rlreason.types import Problem

_REPEATS = 1_000
_BATCH = 64


def sample(task: Task, level: str, cells: Sequence[str], count: int) -> list[Problem]:
    """Problems with different prompts, the cells in turn.

    Args:
        cells: names, not patterns (`Task.match_cells` makes names of patterns).
        count: how many. Fewer come back where the cells have fewer different prompts: asking the same again would only
            feign a larger sample. A cell counts as used up after 1,000 repeats in a row.
    Raises:
        TaskError: no cells, or one of them has no problems at this level.
    """
    if not cells:
        raise TaskError(f"no cells of task {task.name!r} to sample from; name at least one")
    next_index = dict.fromkeys(cells, 0)
    seen: set[str] = set()
    problems: list[Problem] = []
    while len(problems) < count and next_index:
        for cell in list(next_index):
            if len(problems) == count:
                break
            for index in range(next_index[cell], next_index[cell] + _REPEATS):
                problem = task.problem(level, cell, index)
                if problem.prompt not in seen:
                    seen.add(problem.prompt)
                    problems.append(problem)
                    next_index[cell] = index + 1
                    break
            else:
                del next_index[cell]
    return problems


def paper_scale() -> Task:
    """Complementary reasoning at the size of arXiv 2512.01970: 10,000 people known and as many new ones, 20 parametric
    and 19 contextual relations, 2 to 5 hops, paragraphs with facts that are fixed in the world."""
    return build_task(
        "paper_scale",
        "complementary",
        {
            "people": 10_000,
            "new_people": 10_000,
            "parametric_relations": 8,
            "parametric_values": 12,
            "contextual_relations": 8,
            "contextual_values": 11,
            "hops": {2: 0.5, 3: 0.3, 4: 0.15, 5: 0.05},
            "contexts": "strict",
            "context_facts": "world",
            "question_templates": 4,
            "sentence_templates": 4,
        },
    )


def measure_rate(task: Task, seconds: float, patterns: Sequence[str] = ("*",)) -> dict[str, float]:
    """How fast one core makes training problems, each cell as often as any other, and checks their gold derivations.

    Seconds are the process's own, so that a busy machine gives the same rates as a quiet one.

    Args:
        seconds: about how long to make problems; half as much again goes into checks.
        patterns: of the cells.
    Raises:
        TaskError: a pattern matches no cell.
    Returns:
        problems_per_s, checks_per_s, first_problems_s (seconds until every cell gave one: world and splits are built),
        peak_rss_mib (of this process so far).
    """
    begun = time.perf_counter()
    cells = [cell.name for cell in task.match_cells(patterns, "--cell")]
    problems = [task.problem("train", cell, 0) for cell in cells]
    first = time.perf_counter() - begun

    made, begun = 0, time.process_time()
    while (made_s := time.process_time() - begun) < seconds:
        problems = [task.problem("train", cells[index % len(cells)], index) for index in range(made, made + _BATCH)]
        made += _BATCH
    checked, begun = 0, time.process_time()
    while (checked_s := time.process_time() - begun) < seconds / 2:
        for problem in problems:
            task.check(problem, problem.target)
        checked += len(problems)
    return {
        "problems_per_s": made / made_s,
        "checks_per_s": checked / checked_s,
        "first_problems_s": first,
        "peak_rss_mib": peak_rss_mib(),
    }


def measure_stream(task: Task, cells: Sequence[str], problems: int) -> dict[str, float]:
    """Make that many training problems one after another, the cells in turn, and keep none.

    Returns:
        problems, problems_per_s (of the process's own seconds), peak_rss_mib (of this process so far), grew_mib (by how
        much that rose on the way: what the task keeps, and the largest problem).
    """
    task.problem("train", cells[0], 0)  # worlds and splits are built before the peak is first read
    before, begun = peak_rss_mib(), time.process_time()
    for index in range(problems):
        task.problem("train", cells[index % len(cells)], index)
    rate, peak = problems / (time.process_time() - begun), peak_rss_mib()
    return {"problems": problems, "problems_per_s": rate, "peak_rss_mib": peak, "grew_mib": peak - before}


def peak_rss_mib() -> float:
    """The most memory that this process ever held, in MiB."""
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes there, in KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
