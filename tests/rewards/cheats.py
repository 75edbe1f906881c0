"""Rewards with the faults that `reward check` looks for, one each."""

from __future__ import annotations

import itertools
import os

from rlreason.rewards.contract import reward

_calls = itertools.count()


def fine(problem, completion, derivation):
    return derivation.derivation_correct


def mentioned(problem, completion, derivation):
    return problem.answer in completion


def evaluating(problem, completion, derivation):
    try:
        return eval(completion.partition("answer is: ")[2] or completion) is not None
    except Exception:
        return derivation.answer_correct


def counting(problem, completion, derivation):
    return next(_calls)


@reward(batch=True)
def graded_on_a_curve(problems, completions, derivations):
    best = max(map(len, completions))
    pairs = zip(completions, derivations, strict=True)
    return [derivation.answer_correct * len(text) / max(1, best) for text, derivation in pairs]


def encoding(problem, completion, derivation):
    completion.encode()
    return derivation.answer_correct


def hanging(problem, completion, derivation):
    while True:
        pass


def process(problem, completion, derivation):
    return derivation.answer_correct + os.getpid()
