import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from rlreason.records.lines import JsonLines


def test_a_line_that_has_not_ended_waits_for_its_end(tmp_path: Path):
    path = tmp_path / "metrics.jsonl"
    lines = JsonLines(path)
    assert lines.read() == ([], False)  # not there yet
    path.write_text('{"a": 1}\n{"a": ')
    assert lines.read() == ([{"a": 1}], False)
    with path.open("a") as stream:
        stream.write("2}\n")
    assert lines.read() == ([{"a": 2}], False)
    assert lines.read() == ([], False)


def test_what_is_no_object_is_counted_and_passed_over(tmp_path: Path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"a": 1}\n{"a": {"half\n\xff\xfe\n[1]\n\n{"a": 2}\n')
    lines = JsonLines(path)
    assert lines.read() == ([{"a": 1}, {"a": 2}], False)
    assert lines.unreadable == 3  # the empty line is none


def test_a_file_that_was_cut_or_replaced_is_read_from_its_beginning(tmp_path: Path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"a": 1}\n{"a": 2}\n')
    lines = JsonLines(path)
    lines.read()
    path.write_text('{"a": 3}\n')
    assert lines.read() == ([{"a": 3}], True)
    other = tmp_path / "other"
    other.write_text('{"a": 4}\n{"a": 5}\n')
    other.rename(path)
    assert lines.read() == ([{"a": 4}, {"a": 5}], True)


def test_reading_goes_on_from_an_offset_that_was_kept(tmp_path: Path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"a": 1}\n')
    first = JsonLines(path)
    first.read()
    path.write_text('{"a": 1}\n{"a": 2}\n')
    assert JsonLines(path, first.offset).read() == ([{"a": 2}], False)


@given(st.lists(st.text(max_size=5), max_size=6), st.lists(st.integers(1, 20), max_size=12))
def test_however_the_writing_is_cut_every_line_is_read_once(tmp_path_factory, texts: list[str], cuts: list[int]):
    path = tmp_path_factory.mktemp("lines") / "metrics.jsonl"
    whole = "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts).encode()
    lines, found = JsonLines(path), []
    with path.open("wb") as stream:
        for cut in [*cuts, len(whole)]:
            written = stream.tell()
            stream.write(whole[written : written + cut])
            stream.flush()
            found += lines.read()[0]
    assert found == [{"text": text} for text in texts]
