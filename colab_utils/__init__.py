"""Few-shot and cross-corpus speech emotion recognition: the helper package of the notebooks."""

__version__ = "0.1.0"

# Where the repository lives on GitHub. `python tools/set_repo.py OWNER/NAME` changes it here, in
# the badges and in the set-up cells.
REPOSITORY = "OWNER/NAME"
