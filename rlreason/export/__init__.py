"""Tasks written out for other people's tools.

`verifiers_package` writes a package for the `verifiers` library, `verifiers_taskset` is what such a package imports
once it is installed. Reading other people's environments is `rlreason.tasks.verifiers`.
"""
