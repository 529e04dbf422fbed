"""Networks of the zoo on which slow tests run."""

import os

MODELS = os.environ.get("COTENANT_TEST_MODELS", "cifarnet").split(",")
"""More networks of the zoo can be named; a device that compiles on a processor needs minutes."""
