"""A run on the user's own data: read, split, measured, and written down as a configuration."""
