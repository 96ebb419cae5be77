"""A small trainer of trackers: __main__.py says how it works."""
