"""Evaluations that took fewer samples than they might have are told among the cautions."""

from rlreason.records import read_json, write_json
from rlreason.report.summary import summarise
from tests.report.synthetic import finished_run


def test_a_level_that_was_stopped_early_is_a_caution_and_one_that_was_not_is_none(tmp_path):
    folder = finished_run(tmp_path)
    before = summarise(folder).cautions
    plan = read_json(folder.plan_path)
    plan["evaluation"] |= {"samples": 64, "k": [1, 4, 16, 64]}
    write_json(folder.plan_path, plan)
    path = folder.stage("evaluate-sft-0") / "done.json"
    looks = {"samples_iid": 4.0, "half_width_iid": 0.018, "samples_zero_shot": 64.0, "half_width_zero_shot": 0.03}
    write_json(path, {**read_json(path), **looks})
    (said,) = set(summarise(folder).cautions) - set(before)
    assert said == (
        "Arm sft, iid: sampling ended after 4 of 64 samples a problem, when the 95% interval of pass@1 was within 1.8 "
        "points either way (evaluation.stop_at); there is no pass@16, 64."
    )
