"""Units of measurement for `rewards/number.py`: a small table, SI prefixes, products and quotients; exact factors.

`parse` reads as much of a text as is a unit ("km/h", "kg m^2 s^-2", "metres per second"). Left out: parentheses,
currencies, calendar years and months, logarithmic units, and anything with an offset: degrees Celsius, degrees
Fahrenheit and kelvin do not convert into each other here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

Dimension = Mapping[str, int]
LONGEST = 100
"""Characters of a unit's name; what is longer is cut."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit as a multiple of a product of base units.

    Attributes:
        scale: how many of that product it is; exact.
        dimension: base unit -> power, without zeros ({"m": 1, "s": -1}).
    """

    scale: Fraction = Fraction(1)
    dimension: Dimension = field(default_factory=dict)

    def times(self, other: Unit, power: int = 1) -> Unit:
        """self x other^power."""
        names = [*self.dimension, *(name for name in other.dimension if name not in self.dimension)]
        powers = {name: self.dimension.get(name, 0) + power * other.dimension.get(name, 0) for name in names}
        return Unit(self.scale * other.scale**power, {name: n for name, n in powers.items() if n != 0})

    def scaled(self, exponent: int) -> Unit:
        """10^exponent of this unit."""
        return Unit(Fraction(10) ** exponent * self.scale, self.dimension)


# A symbol, its scale, and the base units that it is a multiple of. These take SI prefixes ...
_METRIC = """
    m 1 m, g 1e-3 kg, s 1 s, A 1 A, K 1 K, mol 1 mol, cd 1 cd, rad 1 rad, bit 1 bit, B 8 bit
    Hz 1 s-1, N 1 kg m s-2, Pa 1 kg m-1 s-2, J 1 kg m2 s-2, W 1 kg m2 s-3, C 1 A s, V 1 kg m2 s-3 A-1
    \u03a9 1 kg m2 s-3 A-2, F 1 kg-1 m-2 s4 A2, T 1 kg s-2 A-1, L 1e-3 m3, l 1e-3 m3, t 1e3 kg
    eV 1.602176634e-19 kg m2 s-2, Wh 3600 kg m2 s-2, cal 4.184 kg m2 s-2, bar 1e5 kg m-1 s-2
"""
# ... and these do not.
_OTHERS = """
    min 60 s, h 3600 s, hr 3600 s, d 86400 s, week 604800 s, in 0.0254 m, ft 0.3048 m, yd 0.9144 m, mi 1609.344 m
    ha 1e4 m2, lb 0.45359237 kg, oz 0.028349523125 kg, atm 101325 kg m-1 s-2
    \u00b0 1 degree, \u00b0C 1 \u00b0C, \u00b0F 1 \u00b0F
"""
# Singular names; a plural "s" is taken off before they are looked up.
_NAMES = """
    metre m, meter m, gram g, gramme g, second s, sec s, ampere A, amp A, kelvin K, mole mol, candela cd, radian rad
    byte B, hertz Hz, newton N, pascal Pa, joule J, watt W, coulomb C, volt V, ohm \u03a9, farad F, tesla T, litre L
    liter L, tonne t, electronvolt eV, calorie cal, minute min, hour h, day d, week week, inch in, inche in, foot ft
    feet ft, yard yd, mile mi, hectare ha, pound lb, lb lb, ounce oz, degree \u00b0, deg \u00b0
"""
_PREFIXES = """
    Y 24, Z 21, E 18, P 15, T 12, G 9, M 6, k 3, h 2, da 1, d -1, c -2, m -3, \u00b5 -6, u -6, n -9, p -12, f -15, a -18
"""
_PREFIX_NAMES = """
    tera 12, giga 9, mega 6, kilo 3, hecto 2, deca 1, deci -1, centi -2, milli -3, micro -6
    nano -9, pico -12, femto -15
"""
# Superscripts, and the second code points of micro and of ohm, as the characters that the tables use.
_SAME = str.maketrans(
    "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079\u207b\u03bc\u2126", "0123456789-\u00b5\u03a9"
)
_FACTOR = re.compile(
    r"(?P<link>\s{0,3}(?:/|[*\u00b7\u22c5\u00d7]|\bper\b)\s{0,3}|\s{0,3})"
    r"(?P<symbol>\u00b0?[^\W\d_]{1,20}|\u00b0)(?:\^?\(?(?P<power>-?\d)\)?)?"
)


def parse(text: str, start: int = 0) -> tuple[Unit | None, int]:
    """The unit that stands at `start`, but for space, and where it ends; (None, start) where there is none.

    Words after the unit are left alone.

    >>> parse("3 km/h, about", 1) == (parse("kilometres per hour")[0], 6)
    True
    """
    text = text[start : start + LONGEST].translate(_SAME)
    unit, end = None, 0
    while factor := _FACTOR.match(text, end):
        link = factor["link"].strip()
        found = _lookup(factor["symbol"])
        if found is None or (unit is None and link):
            break
        if unit is not None and not link and factor["symbol"] == "in":  # "5 m in length"
            break
        power = int(factor["power"] or 1) * (-1 if link in ("/", "per") else 1)
        unit = (unit or Unit()).times(found, power)
        end = factor.end()
    return unit, start + end


def _lookup(symbol: str) -> Unit | None:
    known = _by_symbol_or_name(symbol, _UNITS)
    if known is not None:
        return known
    for prefix, exponent in _POWERS.items():
        rest = symbol.removeprefix(prefix)
        if rest != symbol and rest in _TAKES_PREFIX:
            return _UNITS[rest].scaled(exponent)
    lower = symbol.lower()
    for prefix, exponent in _POWERS_BY_NAME.items():
        name = _SYMBOLS.get(lower.removeprefix(prefix).removesuffix("s"), "")
        if lower.startswith(prefix) and name in _TAKES_PREFIX:
            return _UNITS[name].scaled(exponent)
    return None


def _by_symbol_or_name(symbol: str, units: Mapping[str, Unit]) -> Unit | None:
    lower = symbol.lower()
    names = (symbol, _SYMBOLS.get(lower, ""), _SYMBOLS.get(lower.removesuffix("s"), ""))
    return next((units[name] for name in names if name in units), None)


def _table(text: str) -> Iterator[list[str]]:
    """The words of each entry; entries end with a comma or a line."""
    return (entry.split() for line in text.strip().splitlines() for entry in line.split(",") if entry.strip())


def _units(text: str) -> dict[str, Unit]:
    found = {}
    for symbol, scale, *base in _table(text):
        unit = Unit(Fraction(scale))
        for factor in base:
            name = factor.rstrip("-0123456789")
            unit = unit.times(Unit(dimension={name: 1}), int(factor[len(name) :] or 1))
        found[symbol] = unit
    return found


_TAKES_PREFIX = _units(_METRIC)
_UNITS = {**_TAKES_PREFIX, **_units(_OTHERS)}
_SYMBOLS = dict(_table(_NAMES))
_POWERS = {prefix: int(exponent) for prefix, exponent in _table(_PREFIXES)}
_POWERS_BY_NAME = {prefix: int(exponent) for prefix, exponent in _table(_PREFIX_NAMES)}
