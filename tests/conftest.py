"""How properties are tested here: without a limit on the time of one example.

A limit would make the outcome of a test depend on how busy the machine is.
"""

from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
