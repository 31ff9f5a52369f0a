"""What the readers of images, and the servers of a node, promise for any input, to be tried by whatever makes inputs.

Each module has a function ``check``: it reads, and raises ``AssertionError`` (or whatever the reader should not have
raised) when a promise is broken. Hypothesis, atheris and the corpus in ``tests/corpus`` feed it. Work is counted in
bytes and entries, never in seconds.
"""
