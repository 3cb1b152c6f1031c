"""Frames, features and maps in the memory of a GPU: only scores and heat maps leave it."""
