import json
import math

import pytest

from rlreason.errors import RecordsError
from rlreason.records.run_folder import RunFolder, read_json, write_json, write_text


def test_a_stage_is_done_once_marked_and_gives_its_figures_back(tmp_path):
    folder = RunFolder(tmp_path)
    assert not folder.is_done("sft-1")
    folder.mark_done("sft-1", {"seconds": 2.5, "completed": "2025-01-01T00:00:00Z", "tokens": 10})
    assert folder.is_done("sft-1")
    assert folder.done("sft-1") == {"seconds": 2.5, "completed": "2025-01-01T00:00:00Z", "tokens": 10}
    assert (tmp_path / "stages" / "sft-1" / "done.json").exists()


def test_a_failed_write_leaves_the_old_file_and_no_temporary_one(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})
    with pytest.raises(RecordsError, match=r"a\.json.*NaN"):
        write_json(path, {"a": math.nan})
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "\ud800")
    assert json.loads(path.read_text()) == {"a": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


def test_text_keeps_its_characters(tmp_path):
    write_json(tmp_path / "deep" / "a.json", {"name": "Zoë → \n"})
    assert read_json(tmp_path / "deep" / "a.json") == {"name": "Zoë → \n"}


def test_a_missing_file_asks_whether_the_run_started(tmp_path):
    with pytest.raises(RecordsError, match=r"plan\.json does not exist; is .* a run's folder"):
        read_json(RunFolder(tmp_path).plan_path)


def test_broken_json_names_file_line_and_column(tmp_path):
    (tmp_path / "plan.json").write_text('{"a": 1,\n oops}')
    with pytest.raises(RecordsError, match=r"plan\.json is not JSON .*line 2, column 2"):
        read_json(tmp_path / "plan.json")


def test_a_done_file_that_is_not_an_object_is_named(tmp_path):
    write_json(tmp_path / "stages" / "s" / "done.json", [1])
    with pytest.raises(RecordsError, match=r"done\.json holds a list"):
        RunFolder(tmp_path).done("s")
