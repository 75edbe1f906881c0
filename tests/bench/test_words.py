"""The benchmark's task: prompts of an exact number of tokens, and a reward that both sides compute alike."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlreason.bench.words import Words, WordsParameters, build_words, early_letters, share_of_early_letters
from rlreason.engines.codec import TextCodec
from rlreason.engines.scratch import make_tokenizer
from rlreason.tasks.registry import task_spec


def words(prompt_words: int = 12) -> Words:
    return Words("words", WordsParameters(prompt_words=prompt_words))


def test_every_prompt_has_exactly_the_tokens_asked_for(tmp_path: Path):
    task = words(17)
    size = len(make_tokenizer(tmp_path, task.words()))
    (tmp_path / "config.json").write_text('{"eos_token_id": 1}')
    prompts = [task.problem("train", "words/1", index).prompt for index in range(50)]
    assert size == 1024
    assert {len(tokens) for tokens in TextCodec(tmp_path).encode(prompts)} == {17}


def test_prompts_differ_and_are_the_same_in_every_process():
    task, again = words(), build_words(**task_spec(words()))
    prompts = [task.problem("train", "words/1", index).prompt for index in range(100)]
    assert len(set(prompts)) == 100
    assert [again.problem("train", "words/1", index).prompt for index in range(100)] == prompts


@pytest.mark.parametrize(("text", "share"), [("", 0.0), ("banana", 0.5 + 1 / 6), ("zzz", 0.0), ("AM 1", 0.0)])
def test_the_reward_is_the_share_of_letters_before_n(text: str, share: float):
    # b, a, a, a of banana; capitals and digits are no such letters
    assert share_of_early_letters(text) == pytest.approx(share)


def test_the_plugin_pays_the_same_share():
    problem = words().problem("train", "words/1", 0)
    assert early_letters(problem, "abcxyz", words().check(problem, "abcxyz")) == 0.5
