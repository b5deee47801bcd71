"""Files of YAML as plain values, each with its line."""
