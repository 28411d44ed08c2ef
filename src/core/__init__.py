"""Floor 1, ground: the words and laws that every other room shares."""
