"""Whole updates of real processes with faults at random instants, and a judge of what is left."""
