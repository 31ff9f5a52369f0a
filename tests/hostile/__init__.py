"""Neighbours that lie, stall or flood, on real sockets, against the servers of a node."""
