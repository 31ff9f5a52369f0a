"""The model checker: explores what two nodes, a lease and an update can do, by the table that the service runs."""
