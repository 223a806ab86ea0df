"""Settings of Hypothesis for the unit tests: the same examples every time, nothing written."""

from hypothesis import settings

settings.register_profile("unit", deadline=None, database=None, derandomize=True, max_examples=100)
settings.load_profile("unit")
