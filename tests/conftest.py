"""What holds for all tests."""

from hypothesis import settings

# A deadline measures the machine: with another test beside it, an example may take any time.
settings.register_profile("abserve", deadline=None)
settings.load_profile("abserve")
