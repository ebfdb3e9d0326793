"""One room a notebook; rooms do not know each other."""
