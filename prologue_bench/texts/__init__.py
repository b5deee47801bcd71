"""How numbers, names and what others wrote are shown."""
