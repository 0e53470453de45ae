"""Keys and tokens in a real vault."""
