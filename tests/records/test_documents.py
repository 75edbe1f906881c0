import pytest

from rlreason.errors import RecordsError
from rlreason.records import RunFolder, read_manifest, read_plan, write_json

PLAN = {
    "arms": {"a": {"title": "A", "seeds": {"0": {"stages": ["sft-1"], "evaluation": "evaluate-1"}}}},
    "stages": {"sft-1": {"name": "sft", "type": "sft", "seed": 0, "parent": None, "config": {}, "arms": ["a"]}},
    "evaluation": {"levels": ["iid"], "probes": [], "k": [1, 2], "samples": 2},
}


def test_a_plan_reads_as_typed_values(tmp_path):
    folder = RunFolder(tmp_path)
    write_json(folder.plan_path, PLAN | {"made_by_a_newer_version": 1})
    plan = read_plan(folder)
    assert plan.arms["a"].seeds[0].stages == ("sft-1",)
    assert plan.stages["sft-1"].parent is None
    assert plan.evaluation.k == (1, 2)


def test_a_plan_without_a_key_names_file_and_key(tmp_path):
    folder = RunFolder(tmp_path)
    write_json(folder.plan_path, {key: value for key, value in PLAN.items() if key != "evaluation"})
    with pytest.raises(RecordsError, match=r"plan\.json: evaluation: Field required"):
        read_plan(folder)


def test_an_arm_with_an_unlisted_stage_is_named(tmp_path):
    folder = RunFolder(tmp_path)
    write_json(folder.plan_path, PLAN | {"stages": {}})
    with pytest.raises(RecordsError, match=r"arms\.a\.seeds\.0 names the stage 'sft-1'"):
        read_plan(folder)


def test_a_manifest_of_the_wrong_type_names_the_key(tmp_path):
    folder = RunFolder(tmp_path)
    write_json(folder.manifest_path, {"recipe": "r", "rlreason": "0", "seeds": ["x"], "started": "now", "command": "c"})
    with pytest.raises(RecordsError, match=r"manifest\.json: seeds\.0: "):
        read_manifest(folder)
