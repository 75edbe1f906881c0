import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlreason.tasks.complementary.names import FIRST, LAST
from rlreason.tasks.complementary.text import (
    QUESTIONS,
    SENTENCES,
    TRIPLE_FORM,
    derivation,
    form_words,
    parse_sentence,
    question,
    sentence,
)

people = st.one_of(
    st.sampled_from(FIRST), st.tuples(st.sampled_from(FIRST), st.sampled_from(LAST)).map(lambda words: " ".join(words))
)
relations = st.sampled_from(["spouse", "mentor", "city"])


@given(head=people, relation=relations, tail=people, form=st.integers(0, len(SENTENCES) - 1))
def test_a_sentence_in_any_form_reads_back_as_its_fact(head: str, relation: str, tail: str, form: int):
    assert parse_sentence(sentence(head, relation, tail, form)) == (head, relation, tail)


@given(head=st.sampled_from(FIRST), relation=relations, tail=st.sampled_from(FIRST))
def test_a_triple_reads_back_as_its_fact(head: str, relation: str, tail: str):
    assert sentence(head, relation, tail, TRIPLE_FORM) == f"{head} {relation} {tail}."
    assert parse_sentence(f"{head} {relation} {tail}.") == (head, relation, tail)


def test_forms_are_distinct():
    written = {sentence("Alice", "spouse", "Bob", form) for form in range(len(SENTENCES))}
    assert len(written) == len(SENTENCES)
    assert sentence("Alice", "spouse", "Bob") == "The spouse of Alice is Bob."


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "The spouse of Alice is Bob",
        "The spouse of Alice is Bob. ",
        "The spouse of Alice is.",
        "The spouse of Alice is Bob Smith Jones.",
        "the spouse of Alice is Bob.",
        "The spouse of Alice is Bob\n.",
        "Alice spouse.",
        "Alice spouse Bob Smith.",
        "The best spouse of Alice is Bob.",
    ],
)
def test_what_is_not_a_sentence_is_not_read(text: str):
    assert parse_sentence(text) is None


def test_questions_name_the_path_from_the_end_or_from_the_start():
    asked = [question(["spouse", "mentor"], "Alice", True, form) for form in range(len(QUESTIONS))]
    assert asked == [
        "Question: Who is the mentor of the spouse of Alice? Answer:",
        "Question: Name the mentor of the spouse of Alice. Answer:",
        "Question: Tell me the mentor of the spouse of Alice. Answer:",
        "Question: Start at Alice, then take the spouse, then the mentor. Who is it? Answer:",
    ]
    assert question(["city"], "Alice", False) == "Question: What is the city of Alice? Answer:"


def test_a_derivation_tells_the_facts_in_order_then_the_answer():
    facts = [("Alice", "spouse", "Bob"), ("Bob", "mentor", "Carol")]
    expected = " The spouse of Alice is Bob. The mentor of Bob is Carol. So, the answer is: Carol"
    assert derivation(facts, "Carol") == expected
    triples = " Alice spouse Bob. Bob mentor Carol. So, the answer is: Carol"
    assert derivation(facts, "Carol", TRIPLE_FORM) == triples


def test_form_words_cover_every_form():
    words = set(form_words()) | {"Alice", "Bob", "spouse", "mentor"}
    texts = [sentence("Alice", "spouse", "Bob", form) for form in range(len(SENTENCES))]
    for form, person in itertools.product(range(len(QUESTIONS)), (True, False)):
        texts.append(question(["spouse", "mentor"], "Alice", person, form))
    texts.append(derivation([("Alice", "spouse", "Bob")], "Bob"))
    pieces = {piece for text in texts for piece in re.findall(r"\w+|[^\w\s]", text)}
    assert pieces <= words
