"""Attacks on our own federation; what they find is published."""
