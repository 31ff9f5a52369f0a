"""ovca updates all software of an appliance that two management nodes run."""

__version__ = '1.0.0'
