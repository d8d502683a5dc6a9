"""A run on a person's own data: read, split, measured, and written down as a configuration."""
