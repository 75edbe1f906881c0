"""From the records of a run to its verdicts, and how they stand on the page."""

import json
from pathlib import Path

import pytest

from rlreason.records import PlanRecord, RunFolder, read_json, write_json, write_part
from rlreason.report import build_report
from rlreason.report.summary import summarise
from rlreason.report.verdict import count_halves, judge, judged_pairs, resolved_rules
from rlreason.report.verdict_figures import verdict_charts
from tests.report.synthetic import Counts, add_arm, write_evaluation, write_plan, write_training

PROBLEMS = 90
SKILL = {"contextual": Counts(40, [4] * 40)}
# of 90 problems the base solves 20 with every sample; 4 samples a problem
BASE = [4] * 20 + [0] * 70
EVERY = [4] * PROBLEMS


def run(path: Path, arms: dict[str, list[int]], seeds: tuple[int, ...] = (0, 1, 2), **rules: object) -> RunFolder:
    """A run with these samples right on zero_shot; "rft" is a control from the same base."""
    folder = RunFolder(path)
    write_plan(folder, seeds)
    if "rft" in arms:
        add_arm(folder, "rft", "sft", "rft")
    plan = read_json(folder.plan_path)
    for stage in plan["stages"].values():
        stage["type"] = "rft" if stage["name"] == "rft" else stage["type"]
    # answers are guessed with 1 in 8: four guesses solve 41%
    write_json(folder.plan_path, plan | {"verdict": {"chance": 0.5, "levels": ["zero_shot"], **rules}})
    for seed in seeds:
        write_training(folder, seed)
        for arm, name in (("sft", "sft"), ("sft_rl", "rl"), ("rft", "rft")):
            if arm in arms:
                levels = {"zero_shot": Counts(0, arms[arm])}
                write_evaluation(folder, f"evaluate-{name}-{seed}", levels, SKILL if arm == "sft" else None)
    return folder


def judged(folder: RunFolder):
    (judgement,) = judge(folder, summarise(folder)).judgements
    return judgement


def test_solving_what_the_base_and_the_control_never_solve_is_synthesis(tmp_path):
    found = judged(run(tmp_path, {"sft": BASE, "sft_rl": EVERY, "rft": BASE}))
    assert (found.level, found.pair.arm, found.pair.base) == ("zero_shot", "sft_rl", "sft")
    assert found.pair.controls == ("rft",)
    assert (found.decision.label, found.decision.missing) == ("synthesis", ())
    assert found.evidence is not None
    assert (found.evidence.problems, found.evidence.samples, found.evidence.seeds) == (90, 4, (0, 1, 2))
    assert found.evidence.arm == pytest.approx({1: 1.0, 2: 1.0, 4: 1.0})
    assert found.evidence.base == pytest.approx(dict.fromkeys((1, 2, 4), 20 / 90))
    assert found.evidence.chance == pytest.approx(1 - 0.875**4)
    split = found.evidence.split_half
    assert split is not None and (split.unsolved, split.half, split.base_many, split.arm) == (70.0, 2, 0.0, 1.0)


def test_more_often_right_on_what_the_base_solves_now_and_then_is_amplification(tmp_path):
    found = judged(run(tmp_path, {"sft": [1] * PROBLEMS, "sft_rl": EVERY, "rft": BASE}))
    assert found.decision.label == "amplification"


def test_the_same_as_the_base_is_no_gain(tmp_path):
    assert judged(run(tmp_path, {"sft": BASE, "sft_rl": BASE})).decision.label == "no gain"


def test_what_a_control_reaches_too_is_not_enough(tmp_path):
    found = judged(run(tmp_path, {"sft": BASE, "sft_rl": EVERY, "rft": EVERY}))
    assert found.decision.label == "not enough evidence"
    assert found.clauses["controls"].holds is False
    assert found.decision.missing[0].startswith("a lead over the control rft: 0.0")


def test_one_seed_and_no_control_are_named(tmp_path):
    found = judged(run(tmp_path, {"sft": BASE, "sft_rl": EVERY}, seeds=(0,)))
    assert found.decision.label == "not enough evidence"
    assert found.decision.missing[0].startswith("seeds: 1 of the 3")
    assert found.decision.missing[1].startswith("matched controls")
    assert found.evidence is not None and found.evidence.mixed is None


def test_controls_and_probes_can_be_named_and_one_without_records_is(tmp_path):
    found = judged(run(tmp_path, {"sft": BASE, "sft_rl": EVERY}, controls=["other"], probes=["parametric"]))
    assert found.clauses["controls"].lacking == (
        "the control other: not evaluated on the same problems under the same seeds"
    )
    assert found.clauses["prerequisites"].lacking == "the probe parametric of the base"


def test_samples_too_few_for_any_k_are_missing(tmp_path):
    found = judged(run(tmp_path, {"sft": BASE, "sft_rl": EVERY}, k=[8, 16]))
    assert found.decision.missing == ("samples: 4 a problem on zero_shot, and the smallest k of the verdict is 8",)
    assert found.evidence is None


def test_an_unfinished_run_has_a_verdict_that_says_so(tmp_path):
    found = judged(run(tmp_path, {"sft": BASE}))
    assert found.decision.label == "not enough evidence"
    assert found.decision.missing[0].startswith("samples of sft_rl and sft on zero_shot")


def test_halves_are_the_even_and_the_odd_samples(tmp_path):
    folder = run(tmp_path, {"sft": [1, 2, 4, 0], "sft_rl": [4] * 4}, seeds=(0,))
    halves = count_halves(folder, ["evaluate-sft-0"])
    # of four samples the first so many are right: the even ones are 0 and 2
    right = halves.xs("zero_shot", level="level")["right"].unstack("odd")
    assert right[0].tolist() == [1, 1, 2, 0]
    assert right[1].tolist() == [0, 1, 2, 0]
    assert set(halves["n"]) == {2}


def plan_of(**paths: str) -> PlanRecord:
    """Arms by the types of their stages: "sft rl"."""
    arms, stages = {}, {}
    for name, path in paths.items():
        ids = ["-".join(path.split()[: at + 1]) for at in range(len(path.split()))]
        stages |= {
            id: {"name": id, "type": kind.partition(":")[0], "seed": 0, "parent": None}
            for id, kind in zip(ids, path.split(), strict=True)
        }
        arms[name] = {"seeds": {0: {"stages": ids, "evaluation": f"evaluate-{name}"}}}
    evaluation = {"levels": ["iid", "zero"], "samples": 4, "k": [4, 1], "probes": ["skill"]}
    return PlanRecord.model_validate({"arms": arms, "stages": stages, "evaluation": evaluation})


def test_arms_with_reinforcement_of_their_own_are_judged_against_supervised_siblings():
    plan = plan_of(a="sft", rl="sft rl", more="sft sft:2", rft="sft rft", both="sft rl sft:3", dpo="sft dpo", b="sft:4")
    (pair,) = judged_pairs(plan, resolved_rules(plan))
    assert (pair.arm, pair.base, pair.controls) == ("rl", "a", ("more", "rft"))


def test_reinforcement_that_no_arm_ends_before_has_no_base():
    plan = plan_of(a="sft", late="sft sft:2 rl", alone="rl:9")
    pairs = {pair.arm: pair for pair in judged_pairs(plan, resolved_rules(plan))}
    assert {arm: pair.base for arm, pair in pairs.items()} == {"late": None, "alone": None}
    assert pairs["late"].lacking == "an arm that ends where the reinforcement learning of late begins"


def test_an_old_plan_is_judged_by_the_defaults():
    rules = resolved_rules(plan_of(a="sft"))
    assert (rules.levels, rules.k, rules.probes, rules.minimal_gap) == (("zero",), (1, 4), ("skill",), 0.05)


@pytest.mark.parametrize(
    ("registration", "said"),
    [
        (None, "Rules not frozen before the run: it was planned before rules could be"),
        ({"hash": "abc"}, "Rules not frozen before the run (their hash: abc)."),
        ({"at": "2024-12-31T00:00:00+00:00"}, "Rules frozen at 2024-12-31T00:00:00+00:00, hash abc, unchanged."),
        ({"at": "2024-12-31T00:00:00+00:00", "changes": ["seeds: [0] -> [1]"]}, "changed since: seeds: [0] -> [1]."),
        ({"at": "2025-01-02T00:00:00+00:00"}, "not before the run, which began at 2025-01-01T00:00:00+00:00."),
        ({"at": "yesterday"}, "not before the run"),
    ],
)
def test_the_page_says_how_the_rules_stand_to_frozen_ones(tmp_path, registration, said):
    folder = run(tmp_path, {"sft": BASE, "sft_rl": EVERY}, seeds=(0,))
    if registration and "at" in registration:
        registration = {"hash": "abc", "frozen": {"hash": "abc", **registration}}
    write_json(folder.plan_path, read_json(folder.plan_path) | {"registration": registration})
    assert said in judge(folder, summarise(folder)).registration


def test_the_report_tells_the_verdict_in_every_form(tmp_path):
    folder = run(tmp_path, {"sft": BASE, "sft_rl": EVERY, "rft": BASE})
    page = build_report(folder)
    html = page.read_text()
    assert "<strong>synthesis</strong>" in html
    assert html.count("<dt>") == 8
    markdown = page.with_suffix(".md").read_text()
    assert "| sft_rl (against sft) | zero_shot | **synthesis** |" in markdown
    told = json.loads(page.with_suffix(".json").read_text())["verdict"]
    (entry,) = told["verdicts"]
    assert (entry["verdict"], entry["clauses"]["gap"]["holds"]) == ("synthesis", True)
    assert entry["evidence"]["gaps"]["4"]["difference"] == pytest.approx(70 / 90)
    assert told["rules"]["chance"] == 0.5
    summary = summarise(folder)
    assert [chart.name for chart in verdict_charts(judge(folder, summary), summary)] == ["gap_zero_shot"]


def test_logprobs_under_the_base_are_held_against_its_reach(tmp_path):
    folder = run(tmp_path, {"sft": BASE, "sft_rl": EVERY, "rft": BASE})
    for seed in range(3):
        stage, count = f"evaluate-rl-{seed}", 12
        # one in 1,024 is exp(-6.93): of the 12 problems that the base leaves unsolved 2 are within reach
        logprobs = [-3.0, -6.9, *[-30.0] * 10]
        columns = {"stage": [stage] * count, "level": ["zero_shot"] * count, "sample": [0] * count}
        columns |= {"problem": [f"zero_shot/{at}" for at in range(78, 90)], "base": [f"sft-{seed}"] * count}
        write_part(folder, "base_logprobs", stage, 0, columns | {"logprob": logprobs, "tokens": [9] * count})
    summary = summarise(folder)
    verdicts = judge(folder, summary)
    (found,) = verdicts.judgements
    assert found.evidence is not None and found.evidence.reach is not None
    assert found.evidence.reach.within.value == pytest.approx(2 / 12)
    assert (found.clauses["reach"].holds, found.decision.label) == (True, "synthesis")
    assert [chart.name for chart in verdict_charts(verdicts, summary)] == ["gap_zero_shot", "reach_sft_rl_zero_shot"]
