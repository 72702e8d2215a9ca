"""The doctor: is this hospital fit to take part, and if not, what is to be done about it."""
