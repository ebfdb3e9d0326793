"""What all tests of this room have in common."""

import pytest
import torch


@pytest.fixture(autouse=True, scope="module")
def quick():
    """No pictures of confusion matrices, and little to choose from in fine-tuning."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("colab_utils.learning.study.save_confusion_matrix", lambda run: None)
        patch.setattr("colab_utils.methods.maml.rivals.RATES", (0.01, 0.1))
        patch.setattr("colab_utils.methods.maml.rivals.STEPS", 5)
        yield


@pytest.fixture
def double():
    """Float64 by default, and seeded: what is compared with a naive computation."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(before)
