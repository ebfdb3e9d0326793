"""Vectors made elsewhere: the same from CSV, npz and Parquet; files that cannot be used."""

import numpy as np
import pandas as pd
import pytest

from colab_utils import features
from colab_utils.features.made_elsewhere import VectorsFile, names_in
from colab_utils.files import file_sha256
from colab_utils.settings import SettingError
from colab_utils.utterance_tables import TableError, read_utterance_table

IDS = [f"aa/{number:02d}" for number in range(8)]
X = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
MANIFEST = pd.DataFrame({"utt_id": IDS[:6], "corpus": "aa"})


def write(path, ids=IDS, x=X, **columns):
    """The vectors in the format of the path's ending, in an order of its own."""
    order = np.random.default_rng(1).permutation(len(ids))
    ids, x = np.array(ids)[order], np.asarray(x)[order]
    if path.suffix == ".npz":
        np.savez(path, utt_id=ids, x=x)
        return str(path)
    table = pd.DataFrame(x, columns=[f"e{column}" for column in range(x.shape[1])])
    table = table.assign(**columns)
    table.insert(1, "utt_id", ids)
    if path.suffix == ".csv":
        table.to_csv(path, index=False)
    else:
        table.to_parquet(path)
    return str(path)


@pytest.mark.parametrize("ending", ["csv", "npz", "parquet"])
def test_vectors_come_back_bit_for_bit_by_utterance(tmp_path, capsys, ending):
    path = write(tmp_path / f"emb.{ending}")
    store = features.open_store(MANIFEST, path, tmp_path)
    assert store.pooled and (store.dim, len(store), set(store.ids)) == (3, 6, set(IDS[:6]))
    asked = [IDS[4], IDS[0], IDS[4]]
    assert np.array_equal(store.matrix(asked), X[[4, 0, 4]])
    assert np.array_equal(store[IDS[3]], X[3:4]) and store.matrix(asked).dtype == np.float32
    assert store.lengths(asked).tolist() == [1, 1, 1] and store.skipped.empty
    told = f"emb.{ending}: 3 numbers each for 6 of 6 utterances\n  2 others of the file are of no"
    assert told in capsys.readouterr().out
    sha256 = file_sha256(path)
    assert store.spec["name"] == f"emb.{ending}" and store.key == sha256[:12]
    assert store.spec["settings"] == {"sha256": sha256, "dim": 3}
    assert sha256[:12] in store.note


def test_utterances_without_a_vector_are_skipped_with_the_reason(tmp_path):
    store = VectorsFile(write(tmp_path / "emb.npz", IDS[2:], X[2:]), MANIFEST)
    assert store.skipped.to_numpy().tolist() == [
        ["aa/00", "no vector in emb.npz"],
        ["aa/01", "no vector in emb.npz"],
    ]
    assert "skipped, for they have no vector: 2 (aa/00, aa/01)" in store.report
    assert IDS[0] not in store and IDS[7] not in store
    with pytest.raises(KeyError, match="aa/01 has no features: it was skipped .no vector in emb"):
        store.matrix([IDS[3], IDS[1]])


def spoilt(value, column=1):
    x = X.astype(object)
    x[5, column] = value
    return lambda path: write(path, x=x)


@pytest.mark.parametrize(
    ("name", "make", "told"),
    [
        ("no.csv", lambda path: None, "there is no such file"),
        ("a.csv", spoilt("angry"), r"row \d \(aa/05\) has e1 = 'angry': a finite number is needed"),
        ("a.csv", spoilt(""), r"row \d \(aa/05\) has e1 = ''"),
        ("a.csv", spoilt(np.inf), r"row \d \(aa/05\) has e1 = 'inf'"),
        ("a.csv", spoilt(1e300, 2), r"row \d \(aa/05\) has e2 = '1e\+300'"),
        ("a.npz", lambda path: write(path, x=np.where(X[5, 1] == X, np.nan, X)), "x_0001 = 'nan'"),
        ("a.csv", lambda path: write(path, label="anger"), "label = 'anger'.* leave out this col"),
        ("a.parquet", lambda path: write(path, label="anger"), "row 1 .* has label = 'anger'"),
        ("a.csv", lambda path: write(path, ids=[*IDS[:7], IDS[0]]), "utt_id 'aa/00', which is emp"),
        ("a.npz", lambda path: write(path, ids=[*IDS[:7], ""]), "has utt_id '', which is empty"),
        ("a.csv", lambda path: write(path, ids=[f"b/{i}" for i in range(8)]), "b/.*, b/.*, b/.*man"
         "ifest aa/00, aa/01, aa/02: write them alike"),
        ("a.csv", lambda path: pd.DataFrame({"utt_id": IDS}).to_csv(path, index=False), "no colu"),
        ("a.csv", lambda path: pd.DataFrame({"utt_id": IDS, "x": 1.0}).to_csv(path), "index=False"),
        ("a.csv", lambda path: pd.DataFrame({"id": IDS}).to_csv(path, index=False), "has no utt_"),
        ("a.csv", lambda path: path.write_bytes(b""), "it is empty"),
        ("a.csv", lambda path: path.write_bytes(b"\xff\xfe\x00"), "damaged or of another kind"),
        ("a.parquet", lambda path: path.write_bytes(b"PAR1"), "damaged or of another kind"),
        ("a.npz", lambda path: path.write_bytes(b"PK"), "it is cut off"),
        ("a.npz", lambda path: np.savez(path, x=X), "has no utt_id, but x"),
        ("a.npz", lambda path: np.savez(path, utt_id=IDS, x=X[:5]), "x has 5 rows and utt_id 8"),
        ("a.npz", lambda path: np.savez(path, utt_id=IDS, x=X[None]), r"x has shape \(1, 8, 3\)"),
        ("a.npz", lambda path: np.savez(path, utt_id=np.array(IDS, object), x=X), "Python objects"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_one_sentence(tmp_path, name, make, told):
    make(tmp_path / name)
    with pytest.raises(TableError, match=told) as found:
        VectorsFile(tmp_path / name, MANIFEST)
    assert "\n" not in str(found.value) and str(tmp_path / name) in str(found.value)


def test_parquet_without_pyarrow_says_so_and_utt_id_may_be_its_index(tmp_path, monkeypatch):
    path = tmp_path / "a.parquet"
    pd.DataFrame(X, index=pd.Index(IDS, name="utt_id")).rename(columns=str).to_parquet(path)
    assert read_utterance_table(path)["utt_id"].tolist() == IDS

    def missing(path):
        raise ImportError("Unable to find a usable engine")

    monkeypatch.setattr("pandas.read_parquet", missing)
    with pytest.raises(TableError, match="Parquet needs pyarrow: run `pip install pyarrow`"):
        read_utterance_table(path)


def test_files_stand_in_sums_and_a_plus_in_a_path_does_not_part_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a+b").mkdir()
    first, second = write(tmp_path / "a+b" / "c+d.npz"), write(tmp_path / "e.csv", x=2 * X)
    assert names_in("acoustic + moonshine") == ["acoustic", "moonshine"]
    assert names_in(f"{first}+acoustic+{second}") == [first, "acoustic", second]
    assert names_in("acoustic+a+b/c+d.npz") == ["acoustic", "a+b/c+d.npz"]
    assert names_in("a+b/c+d.npz") == ["a+b/c+d.npz"]
    store = features.open_store(MANIFEST, f"a+b/c+d.npz+{second}", tmp_path)
    assert np.allclose(store.matrix(IDS[:6]), np.hstack([X, 2 * X])[:6])
    for name in (second, f"{second}+acoustic"):
        with pytest.raises(SettingError, match="layer: .* is no single front end"):
            features.open_store(MANIFEST, name, tmp_path, layer=3)
    with pytest.raises(ValueError, match="is a file of vectors and no front end"):
        features.front_end(second)
