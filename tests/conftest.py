"""What all tests share: Hypothesis without deadlines, printing how to repeat a failure."""

from hypothesis import settings

settings.register_profile("centroidb", deadline=None, print_blob=True)
settings.load_profile("centroidb")
