"""Which problems to train on next: curricula over cells, and the scheduler that turns cells into problems."""
