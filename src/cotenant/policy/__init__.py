"""Who runs now: pure policies from a snapshot to actions, chosen by name."""
