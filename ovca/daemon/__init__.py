"""``ovcad``: the service that runs on each management node."""
