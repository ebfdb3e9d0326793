"""Settings by name: those that are not there and those out of range are one sentence."""
import dataclasses

import pytest

from colab_utils.features.acoustic.log_mel import LogMel
from colab_utils.methods.emofsl.settings import EmofslConfig
from colab_utils.settings import SettingError, with_settings


def test_other_values_make_another_object_and_leave_the_first_as_it_was():
    first = EmofslConfig()
    assert with_settings(first, alpha=1.5, shots=3) == dataclasses.replace(first, alpha=1.5, shots=3)
    assert first == EmofslConfig() == with_settings(first)


@pytest.mark.parametrize(("config", "values", "told"), [
    (EmofslConfig(), {"alhpa": 1.0}, "EmofslConfig has no setting 'alhpa': did you mean 'alpha'? There are method, shots, "),
    (EmofslConfig(), {"colour": 1.0}, "EmofslConfig has no setting 'colour': There are method, "),
    (EmofslConfig(), {"shots": 0}, "shots = 0: must be at least 1"),
    (LogMel(), {"layer": "all"}, "LogMel has no setting 'layer'"),
])
def test_a_setting_that_cannot_be_is_one_sentence(config, values, told):
    with pytest.raises(SettingError) as found:
        with_settings(config, **values)
    assert str(found.value).startswith(told) and "\n" not in str(found.value)
