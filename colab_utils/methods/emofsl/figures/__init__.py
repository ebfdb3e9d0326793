"""The figures of notebook 03."""
