"""What can be done with a finished run: draw from it, export it, show it."""
