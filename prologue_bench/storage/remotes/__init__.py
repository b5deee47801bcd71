"""Stores elsewhere: what a URL may be, what lies there, and how artifacts come and go."""
