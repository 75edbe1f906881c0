import pytest

from rlreason.records.run_folder import RunFolder, read_json, write_json
from rlreason.records.tables import write_part
from rlreason.report import build_report
from rlreason.report.curricula import cell_colors, curriculum_charts, curriculum_table, summarise_curricula
from rlreason.report.summary import summarise
from tests.report.synthetic import as_columns, finished_run


def rows(update: int, drawn: tuple[int, int], success: tuple[float | None, float | None], mastered: bool) -> list[dict]:
    """Two cells of one task and level; the first is mastered or not, the second never."""
    return [
        {"stage": "rl-0", "update": update, "arm": f"people:train:{cell}", "probability": 0.5, "drawn": count,
         "unscored": 0, "payoff": None, "success": right, "mastered": known, "unlocked": True}
        for cell, count, right, known in zip(("one/1", "two/2"), drawn, success, (mastered, False), strict=True)
    ]  # fmt: skip


@pytest.fixture
def run(tmp_path) -> RunFolder:
    """20 updates: all four problems from the first cell ten times, then one of four."""
    folder = finished_run(tmp_path)
    plan = read_json(folder.plan_path)
    plan["stages"]["rl-0"]["config"] = {"curriculum": {"type": "sec", "gate": {"window": 8}}}
    write_json(folder.plan_path, plan)
    early = [row for update in range(1, 11) for row in rows(update, (4, 0), (0.25, None), update > 4)]
    late = [row for update in range(11, 21) for row in rows(update, (1, 3), (1.0, 0.5), True)]
    write_part(folder, "curriculum", "rl-0", 20, as_columns([*early, *late]))
    return folder


def test_cells_have_their_draws_success_and_mastery(run):
    (each,) = summarise_curricula(run, summarise(run))
    assert (each.rule, each.names, each.mastered) == ("sec + gate", ("one/1", "two/2"), {"one/1": 5, "two/2": None})
    (table,) = curriculum_table([each])
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["one/1", "50", "100.0% → 25.0%", "25.0% → 100.0%", "5"],
        ["two/2", "30", "0.0% → 75.0%", "50.0% → 50.0%", "never"],
    ]
    # 50 and 30 of 80 problems
    arms = each.as_json()["bandit_arms"]
    assert arms == {"one/1": {"share_drawn": 0.625, "mastered": 5}, "two/2": {"share_drawn": 0.375, "mastered": None}}


def test_areas_are_means_over_ten_updates_and_cells_keep_their_colour(run):
    curricula = summarise_curricula(run, summarise(run))
    drawn, success = curriculum_charts(curricula)
    first = drawn.figure.data[0]
    # at update 15 five of the last ten updates drew 4 of 4, five 1 of 4
    assert (first.y[9], first.y[14], first.y[19]) == (1.0, pytest.approx(0.625), pytest.approx(0.25))
    colors = cell_colors(curricula)
    assert (
        [line.line.color for line in success.figure.data]
        == list(colors.values())
        == [first.line.color, colors["two/2"]]
    )


def test_the_report_shows_it_in_every_form(run):
    page = build_report(run)
    assert "colours of the cells" in page.read_text()
    assert "| two/2 | 30 |" in page.with_suffix(".md").read_text()
    assert read_json(page.with_name("report.json"))["curricula"]["rl-0"]["rule"] == "sec + gate"


def test_a_curriculum_without_a_choice_is_not_shown(tmp_path):
    folder = finished_run(tmp_path)
    one = [row for update in (1, 2) for row in rows(update, (4, 0), (0.5, None), False)[:1]]
    write_part(folder, "curriculum", "rl-0", 2, as_columns(one))
    assert summarise_curricula(folder, summarise(folder)) == ()
    assert "colours of the cells" not in build_report(folder).read_text()
