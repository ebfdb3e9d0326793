"""Few-shot and cross-corpus speech emotion recognition: the helper package of the notebooks."""

__version__ = "0.1.0"
