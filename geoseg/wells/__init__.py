"""Whole wells: logs from every file that people have, and their joints and grooves."""
