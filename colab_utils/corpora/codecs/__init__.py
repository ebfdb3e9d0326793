"""What containers and codecs say of themselves, and what they hold."""
