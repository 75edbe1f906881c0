import pytest

from rlreason.engines.checkpoints import copy_tokenizer, newest_state, promote, saved_states


def make(folder, name):
    (folder / name).mkdir(parents=True)
    (folder / name / "content").write_text(name)
    return folder / name


def test_the_newest_whole_state_is_found_and_partial_ones_are_not(tmp_path):
    assert newest_state(tmp_path / "missing") is None
    assert newest_state(tmp_path) is None
    make(tmp_path, "update-000030.partial")
    make(tmp_path, "elsewhere-000040")
    assert newest_state(tmp_path) is None
    make(tmp_path, "update-000020")
    make(tmp_path, "update-000010")
    (tmp_path / "update-000099").write_text("a file is no state")
    assert [path.name for path in saved_states(tmp_path)] == ["update-000010", "update-000020"]
    assert newest_state(tmp_path) == tmp_path / "update-000020"


def test_promoting_renames_and_then_drops_older_states(tmp_path):
    make(tmp_path, "update-000010")
    final = promote(make(tmp_path, "update-000020.partial"))
    assert final == tmp_path / "update-000020"
    assert [path.name for path in tmp_path.iterdir()] == ["update-000020"]
    assert (final / "content").read_text() == "update-000020.partial"


def test_as_many_states_are_kept_as_asked_for(tmp_path):
    for number in (1, 2, 3):
        promote(make(tmp_path, f"update-00000{number}.partial"), keep=2)
    assert [path.name for path in saved_states(tmp_path)] == ["update-000002", "update-000003"]


def test_promoting_over_a_state_of_the_same_name_replaces_it(tmp_path):
    make(tmp_path, "update-000010")
    assert (promote(make(tmp_path, "update-000010.partial")) / "content").read_text() == "update-000010.partial"


def test_the_old_state_is_still_there_when_the_new_one_cannot_be_named(tmp_path):
    make(tmp_path, "update-000010")
    with pytest.raises(FileNotFoundError):
        promote(tmp_path / "update-000020.partial")
    assert newest_state(tmp_path) == tmp_path / "update-000010"


def test_the_tokenizer_is_copied_byte_for_byte_and_nothing_else(tied, tmp_path):
    copy_tokenizer(tied, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "tokenizer.json",
        "tokenizer_config.json",
        "generation_config.json",
    }
    assert (tmp_path / "tokenizer.json").read_bytes() == (tied / "tokenizer.json").read_bytes()
