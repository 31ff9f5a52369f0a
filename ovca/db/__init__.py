"""The rows that both nodes share, and the sessions that read and write them."""
