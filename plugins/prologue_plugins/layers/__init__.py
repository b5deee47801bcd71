"""What the built-in tokenizers and generators are made of; no component by itself."""
