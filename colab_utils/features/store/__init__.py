"""Feature stores: computed once, checked whenever they are read."""
