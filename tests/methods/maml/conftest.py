"""What all tests of this room have in common."""

import pytest


@pytest.fixture(autouse=True, scope="module")
def no_pictures():
    """A confusion matrix takes most of a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("colab_utils.learning.study.save_confusion_matrix", lambda run: None)
        yield
