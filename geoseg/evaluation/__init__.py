"""Scores beyond single pixels: groove matching, calibration, label errors, perturbations."""
