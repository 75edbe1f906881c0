"""From a completion to a Score: the plug-in contract, the loader, the rubric, and the pool of worker processes."""
