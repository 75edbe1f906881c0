"""Watching a run while it goes on, from what it writes: nothing is asked of its processes, and nothing is written.

    run's folder -> feed (reads what is new) -> view -> terminal | web page
                                                 metrics -> timeline -> Chrome trace

It works as well on a run that has finished, was stopped, or has not begun. Statistics over arms and levels are not
here: they are in the report.
"""
