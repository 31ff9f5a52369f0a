"""Who is master: the lease, the nodes and their health, and what promotion starts."""
