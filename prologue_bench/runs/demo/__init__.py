"""A web page to draw from finished runs."""
