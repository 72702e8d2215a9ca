"""What variants of a spec learn from all rows in one place, beside what zero-shot questions tell."""
