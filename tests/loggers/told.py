"""A run told to one real logger in two starts, the second after a kill that lost updates 3 and 4 of stage rl-0."""

from __future__ import annotations

from pathlib import Path

from rlreason.loggers import Loggers
from rlreason.records import RunFolder
from tests.watch.small_run import planned_run, tell

REPORT = {
    "arms": {"sft": {"levels": {"iid": {"pass_at_1": 0.5}}}, "sft_rl": {"levels": {"iid": {"pass_at_1": 0.75}}}},
    "verdict": {"verdicts": [{"arm": "sft_rl", "base": "sft", "level": "iid", "verdict": "amplification"}]},
}


def told_twice(path: Path, tool: str) -> tuple[RunFolder, str]:
    """(the run, its key): losses 1, 2, 3, 4 of updates 1 to 4, then 30, 40, 50 of 3 to 5, then the headline."""
    folder = planned_run(path / "first")
    folder.recipe_path.write_text("name: tiny\nseeds: [0]\n")
    for updates, scale in (([1, 2, 3, 4], 1.0), ([3, 4, 5], 10.0)):
        with Loggers((tool,), folder) as loggers:
            loggers.start()
            for update in updates:
                tell(folder, "rl-0", [update], at=1000.0 + update, loss=scale * update, entropy=0.5)
                assert loggers.catch_up() == []
            if scale > 1:
                assert loggers.headline(REPORT) == []
            key = loggers.key
    return folder, key
