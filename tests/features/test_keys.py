"""The key of a store follows every setting and the audio; the numbers follow VERSION."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from colab_utils.features import FRONT_ENDS, front_end
from colab_utils.features.acoustic.egemaps import EGeMAPS
from colab_utils.features.acoustic.functionals import Functionals
from colab_utils.features.acoustic.log_mel import LogMel
from colab_utils.features.acoustic.prosody import Prosody
from colab_utils.features.store.extract import store_key

SPEC = LogMel(n_mels=20)


def table_of(*names):
    return pd.DataFrame({"utt_id": names, "file": names, "audio_sha256": names})


SPECS = (LogMel(), Prosody(), Functionals())
SETTINGS = [(spec, field) for spec in SPECS for field in dataclasses.fields(spec)]


@pytest.mark.parametrize(
    ("spec", "field"), SETTINGS, ids=lambda value: getattr(value, "NAME", None) or value.name
)
def test_any_other_setting_is_another_key(spec, field):
    table, value = table_of("x"), getattr(spec, field.name)
    if field.name == "parts":
        others = [(LogMel(floor=2e-6), Prosody()), (LogMel(), Prosody(low_hz=65.0))]
    else:
        step = 2 if isinstance(value, int) else 0.1 * value
        others = [value - step, value + step]
    keys = set()
    for other in others:
        try:
            keys.add(store_key(table, dataclasses.replace(spec, **{field.name: other})))
        except ValueError:
            # not every neighbour is a setting that works
            continue
    assert keys
    assert store_key(table, spec) not in keys


@pytest.mark.parametrize("changed", [LogMel, Prosody, Functionals, EGeMAPS])
def test_another_version_is_another_key_also_of_a_part(changed, monkeypatch):
    table = table_of("x")
    before = {name: store_key(table, front_end(name)) for name in FRONT_ENDS}
    monkeypatch.setattr(changed, "VERSION", 99)
    after = {name: store_key(table, front_end(name)) for name in FRONT_ENDS}
    expected = {changed.NAME} | ({"acoustic"} if changed in (LogMel, Prosody) else set())
    assert {name for name in before if before[name] != after[name]} == expected
    assert len(set(before.values())) == len(FRONT_ENDS)


def test_the_key_follows_audio_and_ids_but_not_order_or_place():
    table = table_of("x", "y")
    key = store_key(table, SPEC)
    assert key == store_key(table[::-1], SPEC) == store_key(table.assign(file="elsewhere"), SPEC)
    other = store_key(table.assign(audio_sha256=["1", "2"]), SPEC)
    assert len({key, other, store_key(table[:1], SPEC)}) == 3


def golden_signal():
    """Two seconds without any random number: a gliding buzz with a pause, and hiss from a
    congruential generator.
    """
    n = np.arange(32000)
    phase = 2 * np.pi * np.cumsum(140 + 40 * np.sin(n / 5000)) / 16000
    buzz = sum(np.cos(k * phase) / k for k in range(1, 30)) * 0.05 * (np.sin(n / 3000) > -0.6)
    hiss = [12345]
    for _ in n[1:]:
        hiss.append((1103515245 * hiss[-1] + 12345) % 2**31)
    return (buzz + (np.array(hiss) / 2**30 - 1) * 0.003).astype(np.float32)


def summary(values):
    """Nine numbers to which every column and every frame contributes."""
    columns = np.arange(values.shape[1])
    return [
        values.mean(),
        values.std(),
        *values[len(values) // 3, :2],
        *(values.mean(0) @ np.cos(k * columns) for k in range(1, 6)),
    ]


GOLDEN = {
    "logmel": (
        1,
        (201, 64),
        [-7.656, 3.168, -3.292, -0.752, -8.836, -9.237, -8.042, -4.117, 0.553],
    ),
    "prosody": (
        1,
        (201, 4),
        [-10.117, 16.389, 5.156, 1.0, 29.701, 13.843, -18.132, -1.848, 40.836],
    ),
    "acoustic": (
        1,
        (1, 75),
        [0.378, 13.794, 27.456, 3.893, -132.605, 122.052, -67.648, 13.04, -92.51],
    ),
    "egemaps": (
        2,
        (1, 88),
        [101.056, 398.219, 27.455, 0.142, -4169.145, -4440.398, 6161.935, -1139.974, -2756.576],
    ),
    "paper-logmel": (
        1,
        (126, 80),
        [-1.038, 1.046, -1.941, -1.844, -0.801, -2.832, -0.069, -0.134, -0.04],
    ),
    "paper-mfcc": (
        1,
        (251, 80),
        [-0.565, 8.181, -57.403, 16.129, -62.491, -68.196, -88.886, -76.049, -65.678],
    ),
    "da-mldg": (1, (198, 64), [-0.439, 1.32, -1.229, 0.993, -1.677, -0.619, -0.749, -0.97, -1.629]),
    "alexnet": (
        2,
        (201, 200),
        [-22.412, 13.415, -62.68, -44.598, -3.359, -23.92, -40.675, -26.428, -37.035],
    ),
    "moonshine": (1, (1, 576), [0.075, 0.349, 0.052, -0.192, -2.066, -0.957, 4.993, -9.14, -0.751]),
    "distillmos": (1, (1, 2048), [0.006, 0.01, 0.012, 0.015, -0.326, -0.348, 0.026, 0.201, 0.302]),
}


@pytest.mark.parametrize("name", list(FRONT_ENDS))
def test_other_numbers_need_another_version(name):
    if name == "egemaps":
        pytest.importorskip("opensmile", reason="openSMILE is not installed")
    spec = front_end(name)
    for package in getattr(spec, "PACKAGES", ()):
        pytest.importorskip(package.module, reason=f"the package of {name} is not installed")
    (values,) = spec.compute([golden_signal()])
    version, shape, numbers = GOLDEN[name]
    got = summary(values)
    assert version == spec.VERSION
    assert values.shape == shape
    assert np.allclose(got, numbers, rtol=2e-3, atol=2e-3), (
        f"{name} gives other numbers than VERSION {version} did: {np.round(got, 3).tolist()}; raise"
        " VERSION and store these"
    )
