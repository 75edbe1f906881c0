"""The 18 algorithms of the 8 paradigms, by name.

What a word-level tokenizer makes of them (plain form, all modules, first wording): mean tokens of a question and of its
derivation at sizes s, m and l, and the most of a derivation at s.

| paradigm | algorithm | question s, m, l | derivation s (most), m, l |
|---|---|---|---|
| simulation | addition | 48, 77, 98 | 670 (973), 1137, 1467 |
| | division | 15, 20, 27 | 127 (174), 260, 494 |
| | bubble_sort | 18, 25, 31 | 185 (338), 576, 1102 |
| | word_flip | 27, 48, 86 | 253 (337), 601, 1260 |
| | compare_numbers | 29, 45, 88 | 106 (198), 204, 518 |
| recursion | any_substring | 16, 21, 25 | 78 (160), 145, 220 |
| | derangement | 20, 20, 20 | 848 (1569), 2328, 4276 |
| iteration | population_growth | 37, 38, 38 | 276 (537), 926, 1972 |
| greedy | dijkstra | 38, 65, 108 | 177 (299), 372, 727 |
| | scheduling | 44, 60, 100 | 338 (462), 694, 1593 |
| enumeration | count_letters | 15, 20, 26 | 116 (163), 230, 414 |
| | diophantine | 26, 26, 27 | 140 (710), 257, 364 |
| | prime_search | 25, 29, 29 | 311 (572), 374, 403 |
| dynamic programming | knapsack | 29, 37, 47 | 244 (569), 888, 2196 |
| | lcs | 21, 30, 35 | 474 (1063), 1775, 3387 |
| | levenshtein | 17, 23, 29 | 282 (573), 1113, 2357 |
| divide and conquer | binary_search | 47, 107, 208 | 221 (362), 299, 376 |
| backtracking | palindromes | 18, 20, 22 | 112 (189), 315, 1016 |
"""

from __future__ import annotations

from collections.abc import Mapping

from rlreason.tasks.tail import (
    backtracking,
    dynamic,
    enumeration,
    greedy,
    halving,
    iteration,
    recursion,
    simulation,
)
from rlreason.tasks.tail.states import Algorithm

_MODULES = (simulation, recursion, iteration, greedy, enumeration, dynamic, halving, backtracking)
ALGORITHMS: Mapping[str, Algorithm] = {found.name: found for module in _MODULES for found in module.ALGORITHMS}
