"""Turning a machine into a node: boot scripts, grants by HTTPS, and the installer."""
