import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rlreason.errors import RecordsError
from rlreason.records import RunFolder, drop_parts_from, read_table, scan_table, write_part
from rlreason.records.schema import SCHEMA_VERSION, TABLES


def updates(count: int = 2, first: int = 1, stage: str = "s") -> dict[str, list]:
    return {
        "stage": [stage] * count,
        "update": list(range(first, first + count)),
        "metric": ["loss"] * count,
        "value": [float(first + index) for index in range(count)],
    }


def evaluation(**columns) -> dict[str, list]:
    row = {
        "stage": "e", "problem": "p", "cell": "c/1", "sample": -1, "text": "t", "tokens": 1, "finish_reason": "stop",
        "logprob": -0.5, "policy_version": 0, "correct": True, "derivation_correct": None, "answer": None,
        "first_error": None, "first_error_kind": None, "steps": "[]", "failure": "", "level": "iid", "probe": False,
        "greedy": True,
    }  # fmt: skip
    return {name: [value] for name, value in (row | columns).items()}


def test_rows_come_back_as_they_were_written(tmp_path):
    folder = RunFolder(tmp_path)
    path = write_part(folder, "updates", "s", 12, updates())
    assert path == tmp_path / "records" / "updates" / "s" / "part-000012.parquet"
    assert read_table(folder, "updates").to_dict("list") == updates()
    assert pq.read_metadata(path).row_group(0).column(0).compression == "ZSTD"


def test_parts_are_read_in_order_and_the_same_part_replaces(tmp_path):
    folder = RunFolder(tmp_path)
    for part in (10, 2, 1):
        write_part(folder, "updates", "s", part, updates(1, first=part))
    write_part(folder, "updates", "s", 2, updates(1, first=7))
    assert read_table(folder, "updates")["update"].tolist() == [1, 7, 10]


def test_dropping_parts_leaves_the_earlier_ones_and_other_stages(tmp_path):
    folder = RunFolder(tmp_path)
    for stage in ("s", "t"):
        for part in (1, 2, 3):
            write_part(folder, "updates", stage, part, updates(1, first=part, stage=stage))
    drop_parts_from(folder, "updates", "s", 2)
    assert read_table(folder, "updates", ["s"])["update"].tolist() == [1]
    assert read_table(folder, "updates", ["t"])["update"].tolist() == [1, 2, 3]
    assert len(read_table(folder, "updates")) == 4


def test_a_table_without_parts_has_no_rows_but_its_columns(tmp_path):
    frame = read_table(RunFolder(tmp_path), "evaluations")
    assert len(frame) == 0
    assert list(frame.columns) == TABLES["evaluations"].names
    assert frame["correct"].dtype == "boolean"


def test_nulls_survive_and_nan_stays_nan_only_where_null_is_not_allowed(tmp_path):
    folder = RunFolder(tmp_path)
    write_part(folder, "evaluations", "e", 0, evaluation(correct=None, logprob=math.nan, first_error=3))
    frame = read_table(folder, "evaluations")
    assert frame["correct"].isna().tolist() == [True]
    assert frame["first_error"].tolist() == [3]
    stored = pq.read_table(tmp_path / "records" / "evaluations" / "e" / "part-000000.parquet")
    assert stored["logprob"].null_count == 0
    assert math.isnan(stored["logprob"][0].as_py())


def test_a_frame_with_nullable_columns_can_be_written(tmp_path):
    # pandas holds an integer column with a gap as floats, and a boolean one as objects
    frame = pd.DataFrame({name: values * 2 for name, values in evaluation().items()})
    frame["first_error"] = [1, None]
    frame["correct"] = [True, None]
    write_part(RunFolder(tmp_path), "evaluations", "e", 0, frame)
    back = read_table(RunFolder(tmp_path), "evaluations", columns=["first_error", "correct"])
    assert back["first_error"].tolist() == [1, pd.NA]
    assert back["correct"].tolist() == [True, pd.NA]


def test_token_lists_keep_their_lengths_and_types(tmp_path):
    folder = RunFolder(tmp_path)
    row = evaluation()
    rollout = {name: row[name] for name in row if name not in ("level", "probe", "greedy")} | {
        "update": [1], "task": ["t"], "prompt": ["q"], "gold": ["g"], "reward": [None], "advantage": [0.0],
        "parts": ["{}"], "step_scores": ["{}"], "prompt_tokens": [np.arange(3, dtype=np.int32)],
        "completion_tokens": [[]],
        "generator_logprobs": [np.zeros(2, dtype=np.float32)], "learner_mismatch": [math.nan], "seed": [2**40],
    }  # fmt: skip
    write_part(folder, "rollouts", "rl", 1, rollout)
    frame = read_table(folder, "rollouts")
    assert frame["prompt_tokens"][0].tolist() == [0, 1, 2]
    assert frame["prompt_tokens"][0].dtype == np.int32
    assert frame["completion_tokens"][0].tolist() == []
    assert frame["generator_logprobs"][0].dtype == np.float32
    assert frame["seed"].tolist() == [2**40]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.text(max_size=5), st.floats(), st.integers(-(2**31), 2**31 - 1)), max_size=8))
def test_any_text_and_number_survives(tmp_path, rows):
    folder = RunFolder(tmp_path)
    written = {
        "stage": [text for text, _, _ in rows],
        "update": [update for _, _, update in rows],
        "metric": [text for text, _, _ in rows],
        "value": [value for _, value, _ in rows],
    }
    write_part(folder, "updates", "s", 1, written)
    frame = read_table(folder, "updates")
    assert frame["stage"].tolist() == written["stage"]
    assert frame["update"].tolist() == written["update"]
    np.testing.assert_array_equal(frame["value"].to_numpy(), np.array(written["value"], dtype=float))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"extra": [1, 2]}, r"'extra' is not one of stage, update"),
        ({"value": None}, r"'value' of table 'updates' is missing"),
        ({"value": ["1", "2"]}, r"'value' holds string, not double"),
        ({"update": [1.5, 2.0]}, r"'update' holds double, not int32"),
        ({"update": [True, False]}, r"'update' holds bool, not int32"),
        ({"update": [1, 2**40]}, r"'update' does not hold int32"),
        ({"stage": [1, 2]}, r"'stage' holds int64, not string"),
        ({"stage": ["s", None]}, r"'stage' has 1 nulls"),
        ({"metric": ["loss"]}, r"'metric' has 1 rows, 'stage' has 2"),
    ],
)
def test_a_wrong_column_is_refused_by_name_and_nothing_is_written(tmp_path, change, message):
    rows = {name: values for name, values in (updates() | change).items() if values is not None}
    with pytest.raises(RecordsError, match=message):
        write_part(RunFolder(tmp_path), "updates", "s", 1, rows)
    assert not list(tmp_path.rglob("*.parquet"))


def test_unknown_tables_and_columns_list_the_known_ones(tmp_path):
    folder = RunFolder(tmp_path)
    with pytest.raises(RecordsError, match=r"table 'update' is not one of updates, .*did you mean 'updates'"):
        read_table(folder, "update")
    with pytest.raises(RecordsError, match=r"table 'update' is not one of"):
        write_part(folder, "update", "s", 1, updates())
    with pytest.raises(RecordsError, match=r"column of table 'updates' 'metrics' .*did you mean 'metric'"):
        read_table(folder, "updates", columns=["metrics"])


def test_a_truncated_file_is_named(tmp_path):
    folder = RunFolder(tmp_path)
    path = write_part(folder, "updates", "s", 1, updates())
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(RecordsError, match=r"part-000001\.parquet is not a whole Parquet file"):
        read_table(folder, "updates")


def rewrite(path, change) -> None:
    table = pq.read_table(path)
    pq.write_table(change(table), path)


def test_files_that_others_changed_name_file_and_column(tmp_path):
    folder = RunFolder(tmp_path)
    path = write_part(folder, "updates", "s", 1, updates())
    whole = path.read_bytes()
    changes = {
        r"part-000001\.parquet: column 'value' .*missing": lambda t: t.drop_columns(["value"]),
        r"part-000001\.parquet: .*'other' is not one of": lambda t: t.append_column("other", pa.array([1, 2])),
        r"part-000001\.parquet: column 'value' holds string": lambda t: t.set_column(3, "value", pa.array(["a", "b"])),
        r"part-000001\.parquet: column 'stage' has 1 nulls": lambda t: t.set_column(0, "stage", pa.array(["s", None])),
        rf"schema version 1; this rlreason reads version {SCHEMA_VERSION}": lambda t: t.replace_schema_metadata(
            {b"rlreason.table": b"updates", b"rlreason.schema_version": b"1"}
        ),
        r"holds the table 'problems', not 'updates'": lambda t: t.replace_schema_metadata(
            {b"rlreason.table": b"problems"}
        ),
        r"holds no rlreason table": lambda t: t.replace_schema_metadata({}),
    }
    for message, change in changes.items():
        path.write_bytes(whole)
        rewrite(path, change)
        with pytest.raises(RecordsError, match=message):
            read_table(folder, "updates")


def test_a_temporary_file_of_a_killed_writer_is_no_part_and_a_stranger_is_named(tmp_path):
    folder = RunFolder(tmp_path)
    path = write_part(folder, "updates", "s", 1, updates())
    (path.parent / ".part-000002.parquet.0a1b2c3d.tmp").write_bytes(b"half")
    assert len(read_table(folder, "updates")) == 2
    (path.parent / "part-new.parquet").write_bytes(b"")
    with pytest.raises(RecordsError, match=r"part-new\.parquet is not named like a part"):
        read_table(folder, "updates")


def test_a_column_that_came_later_is_null_in_the_files_before_it(tmp_path):
    folder = RunFolder(tmp_path)
    write_part(folder, "evaluations", "e", 0, evaluation(turns='["a", "b"]'))
    path = write_part(folder, "evaluations", "e", 1, evaluation())
    rewrite(path, lambda table: table.drop_columns(["turns"]))
    for columns in (None, ["turns"]):
        found = read_table(folder, "evaluations", columns=columns)["turns"]
        assert found[0] == '["a", "b"]' and found.isna().tolist() == [False, True]
    assert read_table(folder, "evaluations", columns=["turns", "text"])["text"].tolist() == ["t", "t"]
    # any other column is still missed
    rewrite(path, lambda table: table.drop_columns(["failure"]))
    with pytest.raises(RecordsError, match="column 'failure' of table 'evaluations' is missing"):
        read_table(folder, "evaluations")


def test_a_scan_for_some_rows_reads_only_the_files_that_may_hold_them(tmp_path):
    folder = RunFolder(tmp_path)
    for part, metric in enumerate(("a", "c", "e")):
        two = updates(2, first=2 * part) | {"metric": [metric, chr(ord(metric) + 1)]}
        write_part(folder, "updates", "s", part, two)
    wanted = ("metric", {"b", "e"})
    found = [part["metric"].to_pylist() for part in scan_table(folder, "updates", "s", ["metric"], wanted)]
    assert found == [["b"], [], ["e"]]
    # the pages of the file whose statistics rule it out may even be damaged: only its end was read
    path = tmp_path / "records" / "updates" / "s" / "part-000001.parquet"
    whole = path.read_bytes()
    path.write_bytes(whole[:4] + bytes(60) + whole[64:])
    assert [len(part) for part in scan_table(folder, "updates", "s", ["metric"], wanted)] == [1, 0, 1]
    with pytest.raises(RecordsError, match="part-000001"):
        list(scan_table(folder, "updates", "s", ["stage", "metric"], ("metric", {"c"})))
