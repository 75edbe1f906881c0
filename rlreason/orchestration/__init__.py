"""The rooms' only door to Ray: a cluster, actors around engines, and fleets that look like one generator, one learner."""
