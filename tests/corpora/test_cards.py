"""Corpus cards and frozen folds."""

import pytest

from colab_utils.corpora import cards
from colab_utils.corpora.cards import (
    corpus_names,
    data_folder,
    frozen_folds,
    load_card,
    shipped_manifest,
)
from colab_utils.corpora.emotions import CANONICAL
from colab_utils.corpora.manifest import (
    ManifestError,
)


def test_cards_say_what_they_must():
    assert corpus_names() == sorted(path.stem for path in data_folder().glob("*.yaml"))
    for name in corpus_names():
        card = load_card(name)
        assert (
            card.title
            and card.citation
            and card.license
            and card.url.startswith("http")
            and card.language
            and card.naming
        )
        # "" is for raters who did not agree
        assert set(card.label_map.values()) <= {*CANONICAL, ""}
        rows = shipped_manifest(name)
        assert rows is None or len(rows) == card.counts["utterances"]
        assert not card.folds.get("file") or (data_folder() / card.folds["file"]).is_file()
    synthetic = load_card("synthetic")
    assert (
        "synthetic" in synthetic.title.lower()
        and "never" in synthetic.note
        and not synthetic.counts
    )
    assert (
        load_card("ravdess").label_map["02"] == "calm"
        and load_card("emodb").label_map["L"] == "boredom"
    )
    with pytest.raises(ManifestError, match="unknown corpus 'iemocapp'; known: .*emodb, .*savee"):
        load_card("iemocapp")
    with pytest.raises(ManifestError, match="no frozen folds"):
        frozen_folds("emofilm")


GOOD_CARD = (
    "{title: t, citation: c, license: l, access: open, url: http://x, language: de, "
    'label_map: {"01": anger}}'
)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("access: open", "access: maybe", "access"),
        ('"01"', "01", "quotes"),
        ("anger", "rage", "rage"),
        ("title: t,", "", "title"),
        ("title", "titel", "titel"),
        ("url", "counts: {utterances: 3}, url", "confidence"),
        ("url", "counts: {files: 3, confidence: V}, url", "files"),
        ("{title", "{title: [", "toy.yaml"),
    ],
)
def test_a_card_with_a_fault_is_refused(tmp_path, monkeypatch, old, new, message):
    monkeypatch.setattr(cards, "data_folder", lambda: tmp_path)
    (tmp_path / "toy.yaml").write_text(GOOD_CARD)
    assert cards.load_card("toy").label_map == {"01": "anger"}
    (tmp_path / "toy.yaml").write_text(GOOD_CARD.replace(old, new, 1))
    with pytest.raises(ManifestError, match=message):
        cards.load_card("toy")


def test_faulty_fold_files_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(cards, "data_folder", lambda: tmp_path)
    (tmp_path / "toy.yaml").write_text(GOOD_CARD.replace("url", "folds: {unit: session}, url"))
    (tmp_path / "folds").mkdir()
    for content, message in (
        ("speaker,fold\n1,0\n", "session, fold expected"),
        ("session,fold\n1,0\n1,1\n", "once"),
        ("session,fold\n1,a\n", "whole"),
    ):
        (tmp_path / "folds" / "toy.csv").write_text(content)
        with pytest.raises(ManifestError, match=message):
            cards.frozen_folds("toy")
    (tmp_path / "folds" / "toy.csv").write_text("session,fold\n01,0\n02,1\n")
    assert cards.frozen_folds("toy").to_dict("list") == {"session": ["01", "02"], "fold": [0, 1]}
