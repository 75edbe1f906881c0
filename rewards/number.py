r"""1 where the final answer is the gold number, within a tolerance and, where the gold answer has one, in its unit.

In a recipe:

    rewards:
      parts:
        - spec: "rewards/number.py:score"
          kwargs: {relative: 1.0e-3, answer_in: [boxed, phrase]}

- `relative`, `absolute`: how far off an answer may be, the larger of the two counts; 0 and 0 is exact, as fractions.
- `unit`: the unit of gold answers that name none ("m/s"). An answer must then have one of the same kind: "3.6 km/h"
  is "1 m/s". Without a unit on the gold side, what follows the number is not judged.
- `decimal_comma`: True reads "1.234,5" as 1234.5.
- `answer_in`: where the answer stands, see `rlreason.rewards.reading`; "last_number" takes the last of the whole
  text.

Reads 1,234.5 · -3e-4 · 2.5 x 10^3 · 3/4 · 1 1/2 · \frac{3}{4} · 12% (that is 0.12). An answer that holds two
different numbers is wrong. Numbers of over 1,000 characters, or with an exponent beyond 1,000, are not read. Not
judged: roots, pi and arithmetic (see `boxed_math.py`), number words, significant digits. Units are a table, see
`rlreason.rewards.units`.
"""

import re
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from rlreason.rewards import reading, units
from rlreason.rewards.contract import reward
from rlreason.types import DerivationCheck, Problem

LONGEST = 1_000
FRACTION = re.compile(r"(?:(\d)\s{0,3})?\\[dt]?frac\s{0,3}\{\s{0,3}([^{}]*)\}\s{0,3}\{\s{0,3}([^{}]*)\}")
TIMES = re.compile(r"\\times(?![a-z])|\\cdot(?![a-z])|[\u00d7\u00b7\u22c5]")
THIN_SPACES = re.compile(r"(?<=\d)[\u00a0\u2009\u202f](?=\d{3})")
NUMBER = re.compile(
    rf"""(?: (?P<sign>{reading.SIGN}) | (?<![\w.]) )(?:
        10\s?\^\s?\(?(?P<power>[-+\u2212]?\d++)\)?                                # 10^3
      | (?:(?P<whole>\d++)\s{{1,3}})?(?P<over>\d++)/(?P<under>\d++)(?![.\d])      # 3/4, 1 1/2
      | (?P<decimal>{reading.DECIMAL})
        (?: [eE](?P<e>[-+\u2212]?\d++)                                            # 3e-4
          | \s?[x*]\s?10\s?\^\s?\(?(?P<ten>[-+\u2212]?\d++)\)?                    # 2.5 x 10^3
          | \s?/\s?(?P<divisor>{reading.DECIMAL}) )?                              # 1.5/2
    )(?:\s?(?P<percent>%|percent\b|per\ cent\b))?""",
    re.VERBOSE | re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number, exact, and the unit that follows it, where one does."""

    value: Fraction
    unit: units.Unit | None


@reward
def score(
    problem: Problem,
    completion: str,
    derivation: DerivationCheck,
    *,
    relative: float = 0.0,
    absolute: float = 0.0,
    unit: str = "",
    decimal_comma: bool = False,
    answer_in: reading.AnswerIn = reading.USUAL,
) -> Mapping[str, Any]:
    """1 for the gold number within tolerance, else 0.

    Raises:
        ValueError: the gold answer is not one number, a tolerance is no number of 0 or more, or `unit` is unknown.
    """
    tolerances = Fraction(str(relative)), Fraction(str(absolute))  # refuses NaN and infinities; 0.1 is a tenth
    if min(tolerances) < 0:
        raise ValueError(f"relative {relative} and absolute {absolute} must be 0 or more")
    gold = _gold(problem, unit, decimal_comma)
    if answer_in == "last_number":
        answer = _last(completion, decimal_comma)
    else:
        answer = _only(reading.find(completion, answer_in) or "", decimal_comma)
    right = answer is not None and _equal(gold, answer, *tolerances)
    return {"reward": float(right), "correct": right}


def _gold(problem: Problem, unit: str, decimal_comma: bool) -> Quantity:
    gold = _only(problem.answer, decimal_comma)
    if gold is None:
        raise ValueError(f"answer {problem.answer!r} of problem {problem.id!r} cannot be read as one number")
    if unit and gold.unit is None:
        gold = Quantity(gold.value, units.parse(unit)[0])
        if gold.unit is None:
            raise ValueError(f"unit {unit!r} is not in the table of rlreason.rewards.units")
    return gold


def _only(text: str, decimal_comma: bool) -> Quantity | None:
    """The one quantity of a text; None where it has none that can be read, or several that differ."""
    text = _even(text, decimal_comma)
    found = [_quantity(*number, text) for number in _numbers(text)]
    return found[0] if found and all(one == found[0] for one in found) else None


def _last(text: str, decimal_comma: bool) -> Quantity | None:
    text = _even(text, decimal_comma)
    found = deque(_numbers(text), maxlen=1)
    return _quantity(*found[0], text) if found else None


def _even(text: str, decimal_comma: bool) -> str:
    """The text with fractions as a/b, products as *, thousands in commas, and without LaTeX dressing."""
    text = FRACTION.sub(
        lambda found: f"{found[1]} {found[2]}/{found[3]}" if found[1] else f"{found[2]}/{found[3]}", text
    )
    text = THIN_SPACES.sub("", TIMES.sub("*", reading.plain(text)))
    return text.translate(str.maketrans(".,", ",.")) if decimal_comma else text


def _numbers(text: str) -> Iterator[tuple[re.Match[str], units.Unit | None]]:
    """Every number with the unit that follows it; the digits of "m^2" are the unit's."""
    position = 0
    while number := NUMBER.search(text, position):
        unit, position = units.parse(text, number.end())
        yield number, unit


def _quantity(found: re.Match[str], unit: units.Unit | None, text: str) -> Quantity | None:
    """A number as a quantity; None for what is too long, a division by 0, or glued to letters that are no unit."""
    parts = {name: part.replace("\u2212", "-").replace(",", "") for name, part in found.groupdict("").items()}
    exponent = parts["e"] or parts["ten"] or parts["power"] or "0"
    if len(found.group()) > LONGEST or len(exponent) > 5 or abs(int(exponent)) > LONGEST:
        return None
    over = Fraction(parts["over"] or parts["decimal"] or 1) * Fraction(10) ** int(exponent)
    under = Fraction(parts["under"] or parts["divisor"] or 1)
    if under == 0 or (unit is None and text[found.end() : found.end() + 1].isalpha()):
        return None
    value = (Fraction(parts["whole"] or 0) + over / under) * (Fraction(1, 100) if parts["percent"] else 1)
    return Quantity(-value if parts["sign"] == "-" else value, unit)


def _equal(gold: Quantity, answer: Quantity, relative: Fraction, absolute: Fraction) -> bool:
    """Whether the answer is the gold quantity; tolerances are in the gold answer's unit."""
    value = answer.value
    if gold.unit is not None:
        if answer.unit is None or answer.unit.dimension != gold.unit.dimension:
            return False
        value *= answer.unit.scale / gold.unit.scale
    return abs(value - gold.value) <= max(relative * abs(gold.value), absolute)
