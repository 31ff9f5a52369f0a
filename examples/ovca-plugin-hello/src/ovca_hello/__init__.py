"""An example of a plugin for ovca."""
