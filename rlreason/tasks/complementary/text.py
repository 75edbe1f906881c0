"""Facts, questions and derivations as sentences, and sentences read back as facts.

Used by the task to write and by the checker to read: each form stands here once, and its parser is made from it. No
relation, person or problem is known here. Form 0 is the plainest sentence; derivations that supervised training
teaches use it alone (or the triple, where a task speaks in triples), and the checker reads every form.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

SENTENCES: tuple[str, ...] = (
    "The {relation} of {head} is {tail}.",
    "{tail} is the {relation} of {head}.",
    "{head} has {tail} as {relation}.",
    "As {relation}, {head} has {tail}.",
    "The {relation} that {head} has is {tail}.",
)
"""Forms of a fact. Any two of them differ in their fixed words, so that a sentence is read in one way only."""

TRIPLE = "{head} {relation} {tail}."
"""A fact as a bare triple, for names of one word: no sentence has three words. The tail stands right after the
relation, so that a single induction step (find the relation, copy what follows) looks it up."""

FORMS: tuple[str, ...] = (*SENTENCES, TRIPLE)
TRIPLE_FORM = len(SENTENCES)

QUESTIONS: tuple[str, ...] = (
    "{who} is {nested} of {start}?",
    "Name {nested} of {start}.",
    "Tell me {nested} of {start}.",
    "Start at {start}, then take {chained}. {who} is it?",
)
"""Forms of a question. `nested` names the last relation first, `chained` the first."""

ASK = "Question: "
REPLY = " Answer:"
CONCLUSION = "So, the answer is: "

_NAME = r"\w+"
_ENTITY = rf"{_NAME}(?: {_NAME})?"
_SLOT = re.compile(r"\{\w+\}")
_WORD = re.compile(r"\w+|[^\w\s]")


def _parser(form: str) -> re.Pattern[str]:
    pattern = re.escape(form)
    entity = _NAME if form == TRIPLE else _ENTITY
    for slot, value in (("head", entity), ("relation", r"\w+"), ("tail", entity)):
        pattern = pattern.replace(re.escape("{" + slot + "}"), f"(?P<{slot}>{value})")
    return re.compile(pattern)


_PARSERS = tuple(_parser(form) for form in FORMS)


def sentence(head: str, relation: str, tail: str, form: int = 0) -> str:
    """A fact in one of `FORMS`, ending with a full stop."""
    return FORMS[form].format(head=head, relation=relation, tail=tail)


def parse_sentence(text: str) -> tuple[str, str, str] | None:
    """(head, relation, tail) of a sentence in any form, full stop included; None where it is in none.

    Takes time linear in the length of the text. Whether the words name a relation or a person is the caller's to ask.
    """
    for parser in _PARSERS:
        match = parser.fullmatch(text)
        if match is not None:
            head, relation, tail = match.group("head", "relation", "tail")
            return head, relation, tail
    return None


def question(path: Sequence[str], start: str, to_person: bool, form: int = 0) -> str:
    """The question for the end of a path, from "Question:" to "Answer:", without what a prompt tells before it."""
    named = [f"the {name}" for name in path]
    asked = QUESTIONS[form].format(
        who="Who" if to_person else "What",
        nested=" of ".join(reversed(named)),
        chained=", then ".join(named),
        start=start,
    )
    return f"{ASK}{asked}{REPLY}"


def derivation(facts: Iterable[tuple[str, str, str]], answer: str, form: int = 0) -> str:
    """What supervised training teaches after a prompt: the facts in path order, then the answer; a leading space."""
    steps = "".join(f" {sentence(*fact, form=form)}" for fact in facts)
    return f"{steps} {CONCLUSION}{answer}"


def form_words() -> list[str]:
    """Words and punctuation marks that the forms themselves are made of, each once, in a stable order."""
    forms = (*SENTENCES, *QUESTIONS, "Who What then", ASK, REPLY, CONCLUSION)
    return list(dict.fromkeys(word for form in forms for word in _WORD.findall(_SLOT.sub(" ", form))))
