"""The run spec: one TOML file that says what is trained, how, and what leaves a hospital.

Read once, checked once, frozen. A misspelt key is an error. Nothing that decides what a patient gives away
has a default: `[privacy]` and `[secure_aggregation]` must be written out. One module per table.
"""
