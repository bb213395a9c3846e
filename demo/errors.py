"""What can go wrong with the story."""


class NotObserved(Exception):
    """Something that the story promises did not happen."""
