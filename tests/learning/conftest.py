"""What the tests of the training loop compare with."""

import noisy
import pytest


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """An uninterrupted training: its learner and history."""
    learner = noisy.Noisy()
    folder = tmp_path_factory.mktemp("whole")
    return learner, noisy.train(learner, noisy.STEPS, folder, every=noisy.EVERY)


@pytest.fixture
def same_end(whole, tmp_path):
    """A function that trains in the test's folder and demands the end of the uninterrupted one."""

    def go_on(**settings):
        learner = noisy.Noisy()
        history = noisy.train(learner, noisy.STEPS, tmp_path, every=noisy.EVERY, **settings)
        assert learner.bits() == whole[0].bits()
        assert history.records == whole[1].records == noisy.records(tmp_path)
        assert history.best_step == whole[1].best_step
        return learner, history

    return go_on
