"""The 25 string functions: what each does, and the line that defines it in a prompt.

A text is a Python string here, one character a symbol; how it is written in a prompt (symbols between spaces) is
`expressions`' business. Names carry no meaning: `func_3` is the fourth of `FUNCTIONS`. Every function is total over
non-empty texts and counts from 0 to 9, and takes time at most quadratic in the length.

Source: the list of functions of arXiv 2509.25123, each written anew from its one-line description.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby, zip_longest
from string import ascii_letters, ascii_lowercase, digits
from typing import Literal

Kind = Literal["text", "count"]
VOWELS = "aeiou"
_VOWEL_DIGITS = str.maketrans(VOWELS + VOWELS.upper(), "1234512345")


@dataclass(frozen=True, slots=True)
class Function:
    """A string function.

    Attributes:
        definition: what stands after its name where a prompt defines it: parameters, then a sentence.
        takes: kinds of its arguments, "text" at least once.
        apply: the function itself.
        alphabet: symbols that inputs are made of where it comes first: one that would otherwise do nothing needs others
            than lower-case letters.
    """

    definition: str
    takes: tuple[Kind, ...]
    apply: Callable[..., str]
    alphabet: str = ascii_lowercase


def shuffle(text: str) -> str:
    return text[::2] + text[1::2]


def repeat(text: str, count: int) -> str:
    return text * count


def remove_vowels(text: str) -> str:
    return "".join(symbol for symbol in text if symbol.lower() not in VOWELS)


def sort(text: str) -> str:
    return "".join(sorted(text))


def reverse_words(text: str) -> str:
    words = [""]
    for symbol in text:
        words[-1] += symbol
        if symbol.lower() in VOWELS:
            words.append("")
    return "".join(reversed(words))


def add_prefix(text: str, other: str) -> str:
    return other + text


def add_suffix(text: str, other: str) -> str:
    return text + other


def interlace(text: str, other: str) -> str:
    return "".join(one + two for one, two in zip_longest(text, other, fillvalue=""))


def rotate(text: str, count: int) -> str:
    cut = count % len(text) if text else 0
    return text[cut:] + text[:cut]


def mirror(text: str) -> str:
    return text + text[::-1]


def alternate_case(text: str) -> str:
    return "".join(symbol.lower() if place % 2 else symbol.upper() for place, symbol in enumerate(text))


def shift_letters(text: str, count: int) -> str:
    def shift(symbol: str) -> str:
        if symbol not in ascii_letters:
            return symbol
        first = ord("a") if symbol.islower() else ord("A")
        return chr(first + (ord(symbol) - first + count) % 26)

    return "".join(map(shift, text))


def vowels_to_digits(text: str) -> str:
    return text.translate(_VOWEL_DIGITS)


def insert_separator(text: str) -> str:
    return "-".join(text)


def double(text: str) -> str:
    return "".join(symbol * 2 for symbol in text)


def fancy_brackets(text: str) -> str:
    return f"<{{{text}}}>"


def compress(text: str) -> str:
    runs = ((symbol, sum(1 for _ in run)) for symbol, run in groupby(text))
    return "".join(symbol if length == 1 else f"{symbol}{length}" for symbol, length in runs)


def reverse(text: str) -> str:
    return text[::-1]


def shrinking_copies(text: str, count: int) -> str:
    return "".join(text[start:] for start in range(count))


def rotate_to_vowel(text: str) -> str:
    start = next((place for place, symbol in enumerate(text) if symbol.lower() in VOWELS), 0)
    return text[start:] + text[:start]


def interlace_backwards(text: str, other: str) -> str:
    return interlace(text, other[::-1])


def keep_letters(text: str) -> str:
    return "".join(symbol for symbol in text if symbol in ascii_letters)


def make_even(text: str) -> str:
    return text + text[-1:] * (len(text) % 2)


def count_down(text: str, count: int) -> str:
    return text + "".join(str(digit) for digit in range(count, 0, -1))


def shortest_palindrome(text: str) -> str:
    start = next((place for place in range(len(text)) if text[place:] == text[place:][::-1]), 0)
    return text + text[:start][::-1]


_ONE: tuple[Kind, ...] = ("text",)
_TWO: tuple[Kind, ...] = ("text", "text")
_COUNTED: tuple[Kind, ...] = ("text", "count")

FUNCTIONS: tuple[Function, ...] = (
    Function("( x ) takes every second symbol from the first , then the others .", _ONE, shuffle),
    Function("( x , n ) writes x n times .", _COUNTED, repeat),
    Function("( x ) leaves out the vowels .", _ONE, remove_vowels),
    Function("( x ) sorts the symbols .", _ONE, sort),
    Function("( x ) ends a word after each vowel and writes the words from last to first .", _ONE, reverse_words),
    Function("( x , y ) writes y , then x .", _TWO, add_prefix),
    Function("( x , y ) writes x , then y .", _TWO, add_suffix),
    Function("( x , y ) takes symbols of x and y in turn .", _TWO, interlace),
    Function("( x , n ) moves the first n symbols to the end .", _COUNTED, rotate),
    Function("( x ) writes x , then x from last to first .", _ONE, mirror),
    Function("( x ) writes letters in upper and lower case in turn .", _ONE, alternate_case),
    Function("( x , n ) moves each letter n places on , a after z .", _COUNTED, shift_letters),
    Function("( x ) writes vowels as digits from 1 to 5 .", _ONE, vowels_to_digits),
    Function("( x ) writes - between symbols .", _ONE, insert_separator),
    Function("( x ) writes each symbol 2 times .", _ONE, double),
    Function("( x ) writes < { , then x , then } > .", _ONE, fancy_brackets),
    Function("( x ) writes equal symbols in a row once , then how many there are .", _ONE, compress),
    Function("( x ) reverses the rest , then writes the first symbol .", _ONE, reverse),
    Function("( x , n ) writes x n times , each without one more of the first symbols .", _COUNTED, shrinking_copies),
    Function("( x ) moves the first symbol to the end until it is a vowel .", _ONE, rotate_to_vowel),
    Function("( x , y ) takes symbols of x and y in turn , y from last to first .", _TWO, interlace_backwards),
    Function("( x ) leaves out all but the letters .", _ONE, keep_letters, ascii_lowercase + digits),
    Function("( x ) writes the last symbol once more if their number is odd .", _ONE, make_even),
    Function("( x , n ) writes x , then the digits from n down to 1 .", _COUNTED, count_down),
    Function("( x ) adds the fewest symbols that make it the same from last to first .", _ONE, shortest_palindrome),
)
NAMES: tuple[str, ...] = tuple(f"func_{index}" for index in range(len(FUNCTIONS)))
BY_NAME: dict[str, Function] = dict(zip(NAMES, FUNCTIONS, strict=True))
SYMBOLS = ascii_letters + digits + "-<{}>"
"""Symbols that texts are made of."""
