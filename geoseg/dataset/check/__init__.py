"""Check what a folder of patches holds and whether training on it would be honest."""
