"""Loading a plan and running it."""
