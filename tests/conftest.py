"""What all tests share: no property-based test is judged by the clock of a busy machine."""

from hypothesis import settings

settings.register_profile("suite", deadline=None)
settings.load_profile("suite")
