"""The fixtures of ovca for authors of plugins."""

pytest_plugins = ['ovca.testing.fixtures']
