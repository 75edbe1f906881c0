import errno
import json
import shutil

import pytest

from rlreason.engines.checkpoints import (
    copy_tokenizer,
    newest_state,
    partial_of,
    promote,
    saved_states,
    update_of,
    verify,
    whole_state,
    writing,
)
from rlreason.errors import CheckpointError

STAGE = "rl-0123456789"


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
    final = promote(make(tmp_path, "update-000020.partial"), {})
    assert final == tmp_path / "update-000020"
    assert [path.name for path in tmp_path.iterdir()] == ["update-000020"]
    assert update_of(final) == 20
    assert (final / "content").read_text() == "update-000020.partial"


def test_as_many_states_are_kept_as_asked_for(tmp_path):
    for number in (1, 2, 3):
        promote(make(tmp_path, f"update-00000{number}.partial"), {}, keep=2)
    assert [path.name for path in saved_states(tmp_path)] == ["update-000002", "update-000003"]


def test_an_old_state_that_cannot_be_removed_does_not_make_the_new_one_unwritten(tmp_path, monkeypatch):
    remove, refused = shutil.rmtree, []

    def refusing(path, ignore_errors=False, **named):
        if path.name == "update-000010" and not refused:
            refused.append(path)
            if not ignore_errors:
                raise OSError(errno.EBUSY, "Device or resource busy")
            return
        remove(path, ignore_errors=ignore_errors, **named)

    make(tmp_path, "update-000010")
    monkeypatch.setattr(shutil, "rmtree", refusing)
    with writing(tmp_path / "update-000020.partial"):
        promote(make(tmp_path, "update-000020.partial"), {})
    assert refused and newest_state(tmp_path) == tmp_path / "update-000020"
    promote(make(tmp_path, "update-000030.partial"), {})
    assert [path.name for path in saved_states(tmp_path)] == ["update-000030"]


def test_promoting_over_a_state_of_the_same_name_replaces_it(tmp_path):
    make(tmp_path, "update-000010")
    assert (promote(make(tmp_path, "update-000010.partial"), {}) / "content").read_text() == "update-000010.partial"


def test_the_old_state_is_still_there_when_the_new_one_cannot_be_named(tmp_path):
    make(tmp_path, "update-000010")
    with pytest.raises(FileNotFoundError):
        promote(tmp_path / "update-000020.partial", {})
    assert newest_state(tmp_path) == tmp_path / "update-000010"


def test_the_tokenizer_is_copied_byte_for_byte_and_nothing_else(tied, tmp_path):
    copy_tokenizer(tied, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "tokenizer.json",
        "tokenizer_config.json",
        "generation_config.json",
    }
    assert (tmp_path / "tokenizer.json").read_bytes() == (tied / "tokenizer.json").read_bytes()


# --- the manifest


def save(folder, update, stage=STAGE, keep=9):
    partial = partial_of(folder / f"update-{update:06d}")
    (partial / "tensors").write_bytes(bytes(range(100)))
    (partial / "loop.json").write_text('{"cells": [1, 2]}')
    return promote(partial, {"stage": stage, "update": update}, keep)


def test_a_manifest_lists_every_file_and_says_what_the_state_is_of(tmp_path):
    state = save(tmp_path, 10)
    manifest = json.loads((state / "manifest.json").read_text())
    assert manifest["files"]["tensors"] == {
        "bytes": 100,
        "sha256": "bce0aff19cf5aa6a7469a30d61d04e4376e4bbf6381052ee9e7f33925c954d52",  # of 0, 1, ... 99, by sha256sum
    }
    assert set(manifest["files"]) == {"tensors", "loop.json"}
    assert verify(state).about == {"stage": STAGE, "update": 10}


def cut(state):
    (state / "tensors").write_bytes(bytes(range(60)))


def alter(state):
    (state / "tensors").write_bytes(bytes(range(99)) + b"x")


def lose(state):
    (state / "loop.json").unlink()


def add(state):
    (state / "more").write_text("")


def lose_manifest(state):
    (state / "manifest.json").unlink()


def break_manifest(state):
    (state / "manifest.json").write_text("{")


def other_format(state):
    path = state / "manifest.json"
    path.write_text(path.read_text().replace('"format": 1', '"format": 9'))


DAMAGES = [
    (cut, r"update-000020/tensors has 60 bytes and was written with 100"),
    (alter, r"update-000020/tensors was altered: its SHA-256 is [0-9a-f]{64}, not bce0aff"),
    (lose, r"update-000020 should hold loop.json, tensors and holds tensors"),
    (add, r"should hold loop.json, tensors and holds loop.json, more, tensors"),
    (lose_manifest, r"update-000020 has no manifest.json"),
    (break_manifest, r"update-000020/manifest.json cannot be read \(JSONDecodeError"),
    (other_format, r"update-000020 has format 9; this rlreason reads 1"),
]


@pytest.mark.parametrize(("damage", "said"), DAMAGES)
def test_a_damaged_state_is_refused_with_what_is_wrong_with_it(tmp_path, damage, said):
    damage(save(tmp_path, 20))
    with pytest.raises(CheckpointError, match=said):
        verify(tmp_path / "update-000020")
    with pytest.raises(CheckpointError, match=rf"{said}.*No older state of {STAGE} is whole .*restore the file, or"):
        whole_state(tmp_path, STAGE, note=pytest.fail)
    assert newest_state(tmp_path) == tmp_path / "update-000020", "it is left where it was"


@pytest.mark.parametrize(("damage", "said"), DAMAGES)
def test_the_next_older_whole_state_is_taken_where_one_was_kept_and_it_is_said(tmp_path, damage, said):
    for update in (5, 10, 15, 20):
        save(tmp_path, update)
    cut(tmp_path / "update-000015")
    damage(tmp_path / "update-000020")
    notes = []
    found = whole_state(tmp_path, STAGE, notes.append)
    assert found.folder == tmp_path / "update-000010"
    assert len(notes) == 2 and all("going on from update 10" in note for note in notes)
    assert [path.name for path in saved_states(tmp_path)] == ["update-000005", "update-000010"]
    assert (tmp_path / "update-000020.damaged").is_dir()


def test_damaged_states_that_were_put_aside_do_not_crowd_out_new_ones(tmp_path):
    save(tmp_path, 10)
    cut(save(tmp_path, 20))
    whole_state(tmp_path, STAGE, note=lambda text: None)
    save(tmp_path, 15, keep=1)
    assert whole_state(tmp_path, STAGE, note=pytest.fail).about["update"] == 15


def test_a_state_of_another_stage_is_refused_though_it_is_whole(tmp_path):
    save(tmp_path, 10, stage="rl-9999999999")
    with pytest.raises(CheckpointError, match=rf"is the state of stage rl-9999999999, not of {STAGE}; move it away"):
        whole_state(tmp_path, STAGE, note=pytest.fail)


def test_what_a_killed_run_left_half_written_is_removed_and_no_state_is_none(tmp_path):
    make(tmp_path, "update-000010.partial")
    assert whole_state(tmp_path, STAGE, note=pytest.fail) is None
    assert list(tmp_path.iterdir()) == []
    assert whole_state(tmp_path / "missing", STAGE, note=pytest.fail) is None


def test_states_are_ordered_by_number_past_a_million(tmp_path):
    for update in (999999, 1000000):
        save(tmp_path, update)
    assert newest_state(tmp_path).name == "update-1000000"


# --- a disk that refuses


def test_a_full_disk_is_said_with_what_is_left_and_the_half_written_folder_is_removed(tmp_path):
    save(tmp_path, 10)
    partial = partial_of(tmp_path / "update-000020")
    said = (
        r"update-000020 could not be written to .*No space left.* MiB are free.*resumes after update-000010, which is"
    )
    with pytest.raises(CheckpointError, match=said), writing(partial):
        (partial / "half").write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert [path.name for path in tmp_path.iterdir()] == ["update-000010"]
