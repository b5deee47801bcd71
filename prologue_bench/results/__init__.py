"""What a run found, as records, and the one way to read files that someone else may have written.

No torch here.
"""
