"""Check what a folder of patches holds, and whether a score on it would be unbiased."""
