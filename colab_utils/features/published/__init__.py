"""Front ends as published papers have them."""
