"""Bytes on disk: the store of artifacts, what is kept beside it, locks, and files placed whole."""
