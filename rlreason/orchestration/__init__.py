"""The only door to Ray: a cluster, actors around engines, fleets that look like one generator and one learner."""
