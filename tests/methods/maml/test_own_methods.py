"""Methods of one's own in notebook 02: what can be called is one; the rest is one sentence."""

import functools

import pytest
import torch
from maml_toys import CONFIG, EPISODES, LABELS, make_study

from colab_utils.methods import maml
from colab_utils.results.predictions import PredictionError
from colab_utils.settings import SettingError


class Attention(torch.nn.Module):
    """As in notebook 02, as an object."""

    def forward(self, tasks, temperature=0.2):
        sides = [torch.nn.functional.normalize(maml.vectors(side), dim=-1) for side in tasks]
        weight = torch.softmax(sides[1] @ sides[0].transpose(1, 2) / temperature, dim=-1)
        return weight @ torch.nn.functional.one_hot(tasks.support.y, len(LABELS)).float()


def compared(study, own):
    return study.compare(CONFIG, EPISODES, {}, [], {"mine": own})["mine"]


def test_partials_objects_and_lambdas_are_methods_like_functions(tmp_path):
    study, attention = make_study(tmp_path), Attention()
    plain = compared(study, lambda tasks: attention(tasks))
    for own in (attention, functools.partial(attention, temperature=0.2)):
        assert compared(study, own).predictions.equals(plain.predictions)
    known = compared(study, lambda tasks: attention(tasks).argmax(-1)[..., None] == torch.arange(4))
    assert known.predictions["pred"].equals(plain.predictions["pred"]), "0 and 1 will do"


@pytest.mark.parametrize(
    ("spoilt", "told"),
    [
        (lambda found: None, "NoneType"),
        (lambda found: found.numpy(), "ndarray"),
        (lambda found: found[0], r"\(12, 4\) where \(20, 12, 4\)"),
        (lambda found: found[:, :1], r"\(20, 1, 4\) where \(20, 12, 4\)"),
        (lambda found: found.transpose(1, 2), r"\(20, 4, 12\) where"),
        (lambda found: found * torch.nan, "NaN"),
        (lambda found: found.to("meta"), "device meta"),
        (lambda found: found[:, [99]], "IndexError"),
    ],
)
def test_what_is_no_table_of_probabilities_is_said_with_the_name_of_the_method(
    tmp_path, spoilt, told
):
    with pytest.raises(SettingError, match=told) as found:
        compared(make_study(tmp_path), lambda tasks: spoilt(Attention()(tasks)))
    assert "'mine'" in str(found.value) and "(tasks, n_query, labels)" in str(found.value)


def test_probabilities_that_do_not_sum_to_1_name_their_method(tmp_path):
    with pytest.raises(PredictionError, match="cc/.* by mine: probabilities that sum to 1"):
        compared(make_study(tmp_path), lambda tasks: 2 * Attention()(tasks))


def test_what_cannot_be_called_with_tasks_is_one_sentence(tmp_path):
    study = make_study(tmp_path)
    with pytest.raises(SettingError, match="takes 1 positional argument"):
        compared(study, Attention)  # the class, where an object of it was meant
    for own in (Attention(), "attention"):
        with pytest.raises(SettingError, match="own"):
            study.compare(CONFIG, EPISODES, {}, [], own)
    with pytest.raises(SettingError, match="'mine' is a str"):
        compared(study, "attention")
