"""The user's own recordings: by name, in tables, in folders."""
