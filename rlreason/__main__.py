"""`python -m rlreason`: the same as the console script."""

from rlreason.cli import main

main()
