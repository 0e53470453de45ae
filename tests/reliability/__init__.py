"""Faults in numbers: `python -m tests.reliability` does the worst to a real daemon, and prints what came of it."""
