"""The gate: what a site lets run for the hub, in which process, and what of it may leave."""
