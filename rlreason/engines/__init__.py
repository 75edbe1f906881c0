"""Generators, which serve a policy, and learners, which update it: two protocols, one library a file."""
