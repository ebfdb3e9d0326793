"""What a single recording looks like."""
