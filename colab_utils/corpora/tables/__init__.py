"""Tables in files as people have them: read right, or refused with the line."""
