"""Statistics of logs, to compare synthetic wells with real ones."""
