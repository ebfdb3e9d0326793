"""EMOFSL whose speech encoder learns, too: its last layers, on stored frames of the layer below."""
