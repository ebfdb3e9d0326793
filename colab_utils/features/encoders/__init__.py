"""Front ends of self-supervised speech encoders, from the Hub, a folder or a package."""
