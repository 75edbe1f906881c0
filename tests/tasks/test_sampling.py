import pytest

from rlreason.errors import TaskError
from rlreason.tasks.sampling import measure_rate, paper_scale, sample
from tests.tasks.complementary.worlds import complementary


def test_samples_take_the_cells_in_turn_and_repeat_no_prompt():
    problems = sample(complementary(), "train", ["complementary/2", "complementary/3"], 101)
    assert [problem.cell for problem in problems[:4]] == ["complementary/2", "complementary/3"] * 2
    assert len({problem.prompt for problem in problems}) == 101


def test_a_cell_that_runs_out_gives_what_it_has():
    # four people, the symmetric relations spouse and friend: at most eight different questions
    task = complementary(people=4, parametric_relations=2, hops={1: 1})
    problems = sample(task, "train", ["parametric/1"], 100)
    assert 1 < len(problems) <= 8
    both = sample(task, "train", ["parametric/1", "contextual/1"], 100)
    assert len(both) == 100  # the other cell goes on


def test_samples_need_a_cell_and_a_level_that_exists():
    with pytest.raises(TaskError, match="name at least one"):
        sample(complementary(), "train", [], 3)
    with pytest.raises(TaskError, match="zero_shot"):
        sample(complementary(), "zeroshot", ["complementary/2"], 3)


def test_the_paper_scale_task_has_its_sizes_and_every_level():
    task = paper_scale()
    assert len(task.world.known) == 10_000 and len(task.world.everyone) == 20_000
    assert [len(task.relations.in_group(group)) for group in ("parametric", "contextual")] == [20, 19]
    for level in task.levels:
        for hops in (2, 5):
            problem = task.problem(level, f"complementary/{hops}", 0)
            assert task.check(problem, problem.target).derivation_correct


def test_rates_are_counted():
    rates = measure_rate(complementary(), 0.05)
    assert set(rates) == {"problems_per_s", "checks_per_s", "first_problems_s", "peak_rss_mib"}
    assert min(rates.values()) > 0 and rates["problems_per_s"] > 100


def test_rates_are_of_the_cells_asked_for(monkeypatch: pytest.MonkeyPatch):
    task = complementary()
    made = []
    monkeypatch.setattr(task, "problem", lambda level, cell, index: made.append(cell) or made_up)
    made_up = type(task).problem(task, "train", "complementary/3", 0)
    measure_rate(task, 0.01, ["*/3"])
    assert set(made) == {"parametric/3", "contextual/3", "complementary/3"}
    with pytest.raises(TaskError, match="--cell"):
        measure_rate(task, 0.01, ["*/9"])
