"""Every algorithm against an implementation that shares nothing with it, and what all of them promise."""

import math
import random
import re
from fractions import Fraction
from functools import lru_cache
from heapq import heappop, heappush
from itertools import chain, combinations, permutations

import networkx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlreason.tasks.tail.algorithms import ALGORITHMS
from rlreason.tasks.tail.notation import MARKS, Notation, digits
from rlreason.tasks.tail.parameters import ASKS
from rlreason.tasks.tail.states import MAX_STATES, execute, read, show
from rlreason.tasks.tail.text import Writer, canonical

PLAIN = Notation()
ALL = pytest.mark.parametrize("algorithm", ALGORITHMS.values(), ids=list(ALGORITHMS))


def spaced(items) -> str:
    return " , ".join(" ".join(str(item)) for item in items)


def division(x):
    quotient, rest = divmod(x["dividend"], x["divisor"])
    return f"{' '.join(str(quotient))} remainder {rest}"


def derangement(x):
    """n! times the alternating sum of 1 / k!, exactly."""
    total = sum(Fraction((-1) ** k, math.factorial(k)) for k in range(x["items"] + 1))
    return spaced([int(math.factorial(x["items"]) * total) % x["modulus"]])


def population(x):
    count = x["start"]
    for _ in range(x["years"]):
        count += math.floor(Fraction(count, x["every"])) - x["caught"]
    return spaced([count])


def dijkstra(x):
    graph = networkx.Graph()
    graph.add_weighted_edges_from(x["edges"])
    return spaced([networkx.shortest_path_length(graph, x["start"], x["end"], weight="weight")])


def scheduling(x):
    heap = [(0, machine) for machine in range(x["machines"])]
    for time in x["times"]:
        load, machine = heappop(heap)
        heappush(heap, (load + time, machine))
    return spaced([max(load for load, _ in heap)])


def diophantine(x):
    pairs = [(a, b) for a in range(200) for b in range(200) if x["first"] * a + x["second"] * b == x["total"]]
    return "x {} , y {}".format(*(" ".join(str(number)) for number in min(pairs))) if pairs else "none"


def primes(x):
    found = [n for n in x["numbers"] if not any(n % d == 0 for d in range(2, n))]
    return spaced(found) or "none"


def knapsack(x):
    items = list(zip(x["weights"], x["values"], strict=True))
    choices = chain.from_iterable(combinations(items, count) for count in range(len(items) + 1))
    return spaced([max(sum(v for _, v in some) for some in choices if sum(w for w, _ in some) <= x["room"])])


def subsequences(letters):
    every = chain.from_iterable(combinations(letters, count) for count in range(len(letters) + 1))
    return set(every)


def lcs(x):
    return spaced([max(map(len, subsequences(x["first"]) & subsequences(x["second"])))])


def levenshtein(x):
    @lru_cache
    def distance(first, second):
        if not (first and second):
            return len(first) + len(second)
        replaced = distance(first[1:], second[1:]) + (first[0] != second[0])
        return min(replaced, distance(first[1:], second) + 1, distance(first, second[1:]) + 1)

    return spaced([distance("".join(x["first"]), "".join(x["second"]))])


def palindromes(x):
    words = sorted({word for word in permutations(x["letters"]) if word == word[::-1]})
    return " , ".join(map(" ".join, words)) or "none"


def position(found: int) -> str:
    return spaced([found + 1]) if found >= 0 else "none"


SOLUTIONS = {
    "addition": lambda x: " ".join(str(x["first"] + x["second"])),
    "division": division,
    "bubble_sort": lambda x: spaced(sorted(x["values"])),
    "word_flip": lambda x: " ".join(reversed(x["words"])),
    "compare_numbers": lambda x: (
        "equal" if x["first"] == x["second"] else max(("first", "second"), key=lambda name: x[name])
    ),
    "any_substring": lambda x: position("".join(x["text"]).find("".join(x["pattern"]))),
    "derangement": derangement,
    "population_growth": population,
    "dijkstra": dijkstra,
    "scheduling": scheduling,
    "count_letters": lambda x: spaced([sum(letter == x["wanted"] for letter in x["letters"])]),
    "diophantine": diophantine,
    "prime_search": primes,
    "knapsack": knapsack,
    "lcs": lcs,
    "levenshtein": levenshtein,
    "binary_search": lambda x: position(x["values"].index(x["wanted"]) if x["wanted"] in x["values"] else -1),
    "palindromes": palindromes,
}


def inputs(algorithm, count: int):
    """Inputs of all three sizes, the smallest and the largest n among them."""
    rng = random.Random(0)
    for low, high in algorithm.sizes.values():
        for number in [low, high, *(rng.randint(low, high) for _ in range(count))]:
            yield number, algorithm.draw(number, rng)


@ALL
def test_the_answer_is_that_of_an_independent_implementation(algorithm):
    slow = {"palindromes", "diophantine"}
    for _, given_ in inputs(algorithm, 3 if algorithm.name in slow else 12):
        assert execute(algorithm, given_, PLAIN)[1] == SOLUTIONS[algorithm.name](given_), given_


def test_the_eighteen_algorithms_have_the_sizes_of_the_table():
    table = """
        addition 10-30 31-40 41-50, division 2-5 6-10 11-20, bubble_sort 2-4 5-6 7-8, word_flip 10-20 21-50 51-100
        compare_numbers 5-10 11-20 21-50, any_substring 3-5 6-9 10-14, derangement 3-30 31-60 61-100
        population_growth 1-10 11-25 26-50, dijkstra 3-5 6-10 11-20, scheduling 5-10 11-20 21-50
        count_letters 2-6 7-10 11-20, diophantine 10-50 51-100 101-200, prime_search 5-100 101-200 201-300
        knapsack 2-3 4-5 6-8, lcs 2-6 7-9 10-12, levenshtein 2-4 5-7 8-9, binary_search 5-20 21-40 41-70
        palindromes 2-4 5-6 7-8
    """
    rows = dict(re.findall(r"(\w+) ((?:\d+-\d+ ?){3})", table))
    sizes = {
        name: " ".join(f"{low}-{high}" for low, high in algorithm.sizes.values())
        for name, algorithm in ALGORITHMS.items()
    }
    assert {name: row.strip() for name, row in rows.items()} == sizes
    assert len({algorithm.paradigm for algorithm in ALGORITHMS.values()}) == 8


@ALL
def test_no_two_states_of_a_run_have_the_same_label_and_runs_are_short_enough(algorithm):
    for _, given_ in inputs(algorithm, 5):
        states, _ = execute(algorithm, given_, PLAIN)
        labels = [state.label for state in states]
        assert len(set(labels)) == len(labels) <= MAX_STATES / 4
        assert states[-1].outer  # what the answer is read from is told even where loops are not expanded


@ALL
def test_the_limits_can_be_drawn_and_run(algorithm):
    least, most = algorithm.limits
    assert least <= algorithm.sizes["s"][0] and algorithm.sizes["l"][1] <= most
    for number in (least, most):
        for form in algorithm.forms:
            notation, given_ = Notation(form), algorithm.draw(number, random.Random(1))
            assert execute(algorithm, given_, notation)[1]
            assert all(value for value in algorithm.slots(given_, notation).values())


@ALL
def test_lines_are_canonical_and_taken_apart_as_they_were_put_together(algorithm):
    writer = Writer(["linear_expansion", "atomic_state", "tape_review"])
    for _, given_ in inputs(algorithm, 1):
        for state in execute(algorithm, given_, PLAIN)[0]:
            line = writer.line(state)
            assert canonical(line) == line
            label, _, operation, _, control = writer.parts(line)
            assert (label, operation, control) == (state.label, state.operation, state.control)


@ALL
def test_every_algorithm_has_five_forms_of_its_question_which_all_tell_the_whole_input(algorithm):
    rng = random.Random(0)
    slots = algorithm.slots(algorithm.draw(algorithm.sizes["s"][1], rng), PLAIN)
    assert len(set(algorithm.asks)) == ASKS
    for ask in algorithm.asks:
        assert set(re.findall(r"\{(\w+)\}", ask)) == set(slots)


@ALL
def test_a_machine_survives_whatever_was_written(algorithm):
    """Numbers and words of the right type and nothing else right about them: what the checker sends."""
    rng = random.Random(0)

    def nonsense(value):
        if isinstance(value, int):
            return rng.choice((0, 1, 7, 10**9))
        return rng.choice(("none", "yes", "q", "first")) if isinstance(value, str) else [*map(nonsense, value)]

    for _, given_ in inputs(algorithm, 4):
        told, index = {}, -1
        for _ in range(3):
            states, _ = execute(algorithm, given_, PLAIN, told)
            if index + 1 == len(states):
                break
            index = rng.randrange(index + 1, len(states))
            told[index] = {name: nonsense(value) for name, value in states[index].result.items()}
        assert len(execute(algorithm, given_, PLAIN, told)[0]) <= MAX_STATES


def test_what_was_written_is_what_the_machine_goes_on_with():
    # 7 + 5 = 12; told that the carry is 0, the machine joins 0 and 2
    assert execute(ALGORITHMS["addition"], {"first": 7, "second": 5}, PLAIN)[1] == "1 2"
    states, answer = execute(ALGORITHMS["addition"], {"first": 7, "second": 5}, PLAIN, {0: {"carry": 0, "digit": 2}})
    assert (states[1].fetch, answer) == ({"carry": 0, "digits": [2]}, "2")


@given(st.integers(0, 10**30) | st.lists(st.integers(0, 10**5), min_size=1) | st.sampled_from(["yes", "apple"]))
def test_a_value_is_read_back_from_its_text(value):
    assert read(show(value), value) == value


@pytest.mark.parametrize(
    ("text", "like"),
    [("1 a", 5), ("", 5), ("1  2", 5), ("9 " * 200, 5), ("\u0663", 5), ("- 1", 5), ("1 2", "yes"), ("1 | 2", [1])],
)
def test_a_text_of_another_type_is_no_value(text, like):
    assert read(text, like) is None


def test_notations_write_places_and_digits():
    assert [digits(0), digits(407)] == ["0", "4 0 7"]
    hint, back = Notation("index_hint"), Notation("reversed_digits")
    assert (PLAIN.number(407), hint.number(407), back.number(407)) == ("4 0 7", "bik 4 bek 0 bak 7", "7 0 4")
    assert (PLAIN.at(12), hint.at(2)) == ("1 2", "bek")
    assert PLAIN.row([5, 12], " , ") == "5 , 1 2" and hint.row([5, 12], " , ") == "bak 5 , bek 1 2"
    assert len(set(MARKS)) == 100
