"""The stages of a run, each a function of (context, stage, parent), and the runner that goes through a plan."""
