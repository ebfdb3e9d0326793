"""The embedded synthetic corpus: voices made by the WORLD vocoder. Never a result on speech.

It is there so that every notebook has something to learn on.
"""

from colab_utils.corpora.synthetic.channels import DOMAINS
from colab_utils.corpora.synthetic.corpus import VERSION, make_synthetic_corpus
from colab_utils.corpora.synthetic.emotions_table import EMOTIONS, MOVES, PARAMETERS

__all__ = ["DOMAINS", "EMOTIONS", "MOVES", "PARAMETERS", "VERSION", "make_synthetic_corpus"]
