"""Anybody's weight files, read without running anything that is in them."""
