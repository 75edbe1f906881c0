import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from rlreason.algorithms.seeding import derive_seed

KNOWN = 9_087_419_920_349_361_094

# The separator \x1f itself occurs in no name, and is left out here
part = st.one_of(st.integers(-(2**40), 2**40), st.text("ab:0123456789é", max_size=6))


def test_values_that_must_never_change():
    # every sample of every run follows from these: another value is another experiment
    assert derive_seed(0, "rl-1a2b", 3, "train/x/1", 2) == KNOWN
    script = "from rlreason.algorithms.seeding import derive_seed; print(derive_seed(0, 'rl-1a2b', 3, 'train/x/1', 2))"
    other = subprocess.run([sys.executable, "-c", script], env={"PYTHONHASHSEED": "7"}, capture_output=True, text=True)
    assert int(other.stdout) == KNOWN


def test_parts_are_kept_apart_and_typed():
    seeds = [derive_seed("a", "bc"), derive_seed("ab", "c"), derive_seed("abc"), derive_seed(1), derive_seed("1")]
    assert len(set(seeds)) == len(seeds)
    assert derive_seed(1, 2) != derive_seed(2, 1)


@given(st.lists(part, min_size=1, max_size=4), st.lists(part, min_size=1, max_size=4))
def test_seeds_are_63_bits_and_differ_where_what_they_are_for_differs(one, other):
    assert 0 <= derive_seed(*one) < 2**63
    assert (derive_seed(*one) == derive_seed(*other)) == (one == other)
