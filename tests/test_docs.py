"""The pages under docs/ name what there is."""

from __future__ import annotations

from pathlib import Path

from rlreason.rewards.findings import FINDINGS
from rlreason.rewards.listing import list_rewards

REWARDS = (Path(__file__).parent.parent / "docs" / "rewards.md").read_text(encoding="utf-8")


def rows(heading: str) -> list[list[str]]:
    """The cells of the lines of the table that begins with that heading."""
    table = REWARDS.partition(f"\n{heading}\n")[2].partition("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[1:]]


def test_every_reward_that_ships_is_listed_with_its_form(tmp_path: Path):
    shipped = [[f"`{entry.spec}`", entry.form] for entry in list_rewards(tmp_path) if entry.form]
    assert [row[:2] for row in rows("| reward | form | pays |")] == shipped


def test_every_finding_of_a_check_is_explained_with_its_severity():
    explained = {
        name.strip(" `"): row[1] for row in rows("| finding | severity | says |") for name in row[0].split(",")
    }
    assert {name: severity.partition(";")[0] for name, severity in explained.items()} == FINDINGS
