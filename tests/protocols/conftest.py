"""The fabricated corpora, made once."""

import fabricated
import pytest


@pytest.fixture(scope="session")
def corpora():
    """{name: manifest} of every corpus that a protocol asks for."""
    found = {name: fabricated.fabricated(name) for name in fabricated.SHAPES}
    return {**found, "emofilm": fabricated.emofilm()}
