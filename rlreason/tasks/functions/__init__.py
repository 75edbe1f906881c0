"""Function composition: 25 string functions under meaningless names, learned one by one, then composed.

`strings` has the functions, `expressions` the calls made of them, `task` the problems, levels and cells.
"""

from rlreason.tasks.functions.task import Functions, FunctionsParameters

__all__ = ["Functions", "FunctionsParameters"]
