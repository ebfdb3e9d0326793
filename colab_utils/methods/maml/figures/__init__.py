"""What notebook 02 shows: one episode, and what the methods make of all of them."""
