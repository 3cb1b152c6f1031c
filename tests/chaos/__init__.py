"""Faults thrown at the running service, with a real broker and a real camera; counted at a subscriber.

`python -m tests.chaos` runs them all and prints one table.
"""
