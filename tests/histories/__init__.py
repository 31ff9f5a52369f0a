"""Histories of one lease under contending processes, and a checker that judges them."""
