"""Temperature, calibration error, risk and coverage: slow loops, closed forms, simulation."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import special
from sklearn.calibration import calibration_curve
from sklearn.metrics import recall_score
from toy_predictions import LABELS, table

from colab_utils.results import calibration
from colab_utils.results.metrics import summarise


def scored(probabilities, true, labels=LABELS, **columns):
    """Predictions with scores; the most probable label is predicted."""
    pred = np.array(labels, dtype=object)[probabilities.argmax(1)]
    scores = {f"p_{label}": probabilities[:, k] for k, label in enumerate(labels)}
    return table(true, pred, **columns).assign(**scores)


def drawn(rng, n, sharpness=1.0, told=1.0, **columns):
    """Labels drawn from softmax(logits), told as softmax(told x logits): 1 is calibrated."""
    logits = rng.normal(0, sharpness, (n, len(LABELS)))
    right = special.softmax(logits, axis=1)
    codes = (rng.random((n, 1)) > right.cumsum(1)).sum(1)
    names = np.array(LABELS, dtype=object)
    return scored(special.softmax(told * logits, axis=1), names[codes], **columns), codes


def ece_of(predictions):
    return calibration.calibration_error(calibration.reliability(predictions))


def naive_ece(predictions):
    """Sorted, cut into 15 runs, one bin after the other."""
    errors = []
    for _, cell in predictions.groupby(["seed", "draw"]):
        rows = []
        for row in cell.itertuples():
            sure = max(getattr(row, f"p_{label}") for label in LABELS)
            rows.append((sure, row.true == row.pred))
        rows.sort(reverse=True)
        error = 0.0
        for number in range(15):
            inside = [one for place, one in enumerate(rows) if place * 15 // len(rows) == number]
            if inside:
                confidence = sum(sure for sure, _ in inside) / len(inside)
                accuracy = sum(right for _, right in inside) / len(inside)
                error += len(inside) / len(rows) * abs(accuracy - confidence)
        errors.append(error)
    return sum(errors) / len(errors)


def naive_aurc(predictions):
    areas = []
    for _, cell in predictions.groupby(["seed", "draw"]):
        sure = cell[[f"p_{label}" for label in LABELS]].max(axis=1)
        wrong = list((cell["true"] != cell["pred"])[sure.sort_values(ascending=False).index])
        risks = [sum(wrong[:kept]) / kept for kept in range(1, len(wrong) + 1)]
        areas.append(sum(risks) / len(risks))
    return sum(areas) / len(areas)


@pytest.fixture
def cells():
    """Two seeds and two draws of different sizes, folds and tasks inside, rows shuffled."""
    rng = np.random.default_rng(0)
    parts = []
    for seed, draw, n in ((0, 0, 61), (0, 1, 40), (1, 0, 200), (1, 1, 7)):
        facts = {"seed": seed, "draw": draw, "fold": rng.choice(["a", "b"], n)}
        parts.append(drawn(rng, n, told=2.0, task=rng.integers(0, 3, n), **facts)[0])
    return pd.concat(parts).sample(frac=1, random_state=1).reset_index(drop=True)


# --- temperature ----------------------------------------------------------------------------------


@pytest.mark.parametrize("told", [0.25, 1.0, 3.0])
def test_the_temperature_undoes_a_factor_of_the_logits(told):
    data, y = drawn(np.random.default_rng(1), 20_000, told=told)
    logits = np.log(data.filter(like="p_").to_numpy())
    assert calibration.temperature(logits, y) == pytest.approx(told, rel=0.05)


def test_the_temperature_is_where_the_gradient_of_torch_is_zero_and_a_weight_counts_as_copies():
    rng = np.random.default_rng(2)
    scores, y = rng.normal(0, 3, (30, 4)), rng.integers(0, 4, 30)
    weights = rng.integers(1, 4, 30)
    t = calibration.temperature(scores, y, weights)
    variable = torch.tensor(t, dtype=torch.float64, requires_grad=True)
    logits = torch.from_numpy(scores) / variable
    losses = torch.nn.functional.cross_entropy(logits, torch.from_numpy(y), reduction="none")
    (losses @ torch.from_numpy(weights).double()).backward()
    assert abs(variable.grad.item()) < 1e-3 and 0.1 < t < 19
    copied = calibration.temperature(scores.repeat(weights, axis=0), y.repeat(weights))
    assert t == pytest.approx(copied, rel=1e-4)
    assert t != pytest.approx(calibration.temperature(scores, y), rel=1e-2)


def test_the_temperature_stays_within_its_bounds():
    scores, y = np.eye(4), np.arange(4)
    assert calibration.temperature(scores, y) == pytest.approx(calibration.COOLEST, rel=1e-3)
    assert calibration.temperature(scores, y[::-1]) == pytest.approx(calibration.HOTTEST, rel=1e-3)


def test_labels_that_do_not_compete_change_no_temperature_but_a_true_one_among_them_is_refused():
    rng = np.random.default_rng(3)
    scores, y = rng.normal(0, 2, (40, 3)), rng.integers(0, 3, 40)
    wider = np.c_[scores, np.full(40, -np.inf)]
    t = calibration.temperature(scores, y)
    assert calibration.temperature(wider, y) == pytest.approx(t, rel=1e-9)
    y[5] = 3
    with pytest.raises(ValueError, match="row 5 has score -inf for its own label"):
        calibration.temperature(wider, y)
    with pytest.raises(ValueError, match="no clips"):
        calibration.temperature(np.zeros((0, 3)), np.zeros(0, dtype=int))


def test_with_temperature_divides_the_logits_and_leaves_zeros():
    logits = np.random.default_rng(4).normal(0, 2, (50, 4))
    logits[:, 2] = -np.inf
    p = special.softmax(logits, axis=1)
    for t in (0.3, 1.0, 4.0):
        found = calibration.with_temperature(p, t)
        np.testing.assert_allclose(found, special.softmax(logits / t, axis=1), atol=1e-14)
        assert found.dtype == np.float64 and (found[:, 2] == 0).all()
        np.testing.assert_array_equal(found.argsort(axis=1), p.argsort(axis=1))
    hot = calibration.with_temperature(p.astype(np.float32), 2.0)
    np.testing.assert_allclose(hot.sum(axis=1), 1)


# --- calibration error ----------------------------------------------------------------------------


def test_the_calibration_error_is_that_of_slow_loops_pooled_within_a_seed_and_draw(cells):
    assert ece_of(cells) == pytest.approx(naive_ece(cells), abs=1e-12)
    told = summarise(cells, LABELS)
    assert told["ece"] == pytest.approx(naive_ece(cells), abs=1e-12)
    assert told["aurc"] == pytest.approx(naive_aurc(cells), abs=1e-12)
    one = cells.assign(seed=0, draw=0, utt_id=cells.index.astype(str))
    assert abs(ece_of(one) - ece_of(cells)) > 0.01, "cells are not pooled with each other"


def test_bins_are_those_of_scikit_learn():
    data, _ = drawn(np.random.default_rng(5), 1500, told=2.0)
    sure = data.filter(like="p_").max(axis=1)
    right = data["true"] == data["pred"]
    accuracy, confidence = calibration_curve(right, sure, n_bins=15, strategy="quantile")
    bins = calibration.reliability(data)
    np.testing.assert_allclose(bins["accuracy"], accuracy[::-1], atol=1e-12)
    np.testing.assert_allclose(bins["confidence"], confidence[::-1], atol=1e-12)
    assert (bins["n"] == 100).all()


def test_a_hand_made_calibration_error():
    """Two bins' worth: 8 certain of 0.9, all right; 7 of 0.6, none: (8 x 0.1 + 7 x 0.6) / 15."""
    p = np.array([[0.9, 0.1]] * 8 + [[0.4, 0.6]] * 7)
    data = scored(p, ["anger"] * 15, ["anger", "sadness"])
    assert ece_of(data) == pytest.approx((8 * 0.1 + 7 * 0.6) / 15)


def test_the_order_of_the_equally_certain_is_nothing():
    """A classifier that always says 0.25 and is right in a quarter of the cases is calibrated."""
    p = np.full((120, 4), 0.25)
    p[:, 0] += 1e-12  # the first is named
    data = scored(p, np.repeat(LABELS, 30))
    for rows in (data, data[::-1], data.sample(frac=1, random_state=0)):
        assert ece_of(rows) == pytest.approx(0, abs=1e-9)
        assert calibration.risk_under_coverage(rows) == pytest.approx(0.75, abs=1e-9)


def test_of_right_probabilities_nothing_is_left_but_luck_and_that_is_foretold():
    rng = np.random.default_rng(6)
    errors, foretold = {}, {}
    for n, times in ((150, 20), (6000, 8)):
        found = [drawn(rng, n)[0] for _ in range(times)]
        errors[n] = np.mean([ece_of(one) for one in found])
        luck = [calibration.error_by_luck(calibration.reliability(one)) for one in found]
        foretold[n] = np.mean(luck)
    assert errors[6000] < 0.025 and errors[150] > 0.08
    for n, error in errors.items():
        assert foretold[n] == pytest.approx(error, rel=0.15)
    sure, _ = drawn(rng, 6000, told=4.0)
    assert ece_of(sure) > 0.2


def test_a_method_without_scores_has_neither():
    found = summarise(table(LABELS, LABELS), LABELS)
    assert found["ece"] is None and found["aurc"] is None


# --- risk and coverage ----------------------------------------------------------------------------


def test_a_hand_made_area():
    """The surest is right, then wrong, then right: risks 0, 1/2, 1/3."""
    p = np.array([[0.7, 0.3], [0.9, 0.1], [0.8, 0.2]])
    data = scored(p, ["anger", "anger", "sadness"], ["anger", "sadness"])
    assert calibration.risk_under_coverage(data) == pytest.approx((0 + 1 / 2 + 1 / 3) / 3)
    tied = data.assign(p_anger=0.8, p_sadness=0.2)
    assert calibration.risk_under_coverage(tied) == pytest.approx(1 / 3)


def test_uar_of_what_is_kept_is_that_of_scikit_learn(cells):
    """And none where an emotion is left out altogether."""
    part = cells[cells["seed"] == 0]
    found = calibration.uar_by_share(part, LABELS, calibration.certainty(part))
    missing = 0
    for share, rate in zip(calibration.SHARES[::4], found[::4], strict=True):
        rates = []
        for _, cell in part.groupby("draw"):
            sure = cell.filter(like="p_").max(axis=1)
            kept = cell.loc[sure.nlargest(int(np.ceil(round(share * len(cell), 6)))).index]
            whole = set(kept["true"]) == set(cell["true"])
            by_label = recall_score(kept["true"], kept["pred"], average="macro", zero_division=0)
            rates.append(by_label if whole else np.nan)
        missing += np.isnan(np.mean(rates))
        assert rate == pytest.approx(np.mean(rates), abs=1e-12, nan_ok=True)
    assert 0 < missing < 15


def test_errors_left_out_first_and_left_out_by_luck_in_closed_form(cells):
    """Each emotion keeps the same share of its errors, or of all; luck changes no recall."""
    one = cells[(cells["seed"] == 1) & (cells["draw"] == 0)]
    right = one["true"] == one["pred"]
    hits, errors = (part.groupby(one["true"]).sum() for part in (right, ~right))
    kept_errors = np.clip(calibration.SHARES * len(one) - right.sum(), 0, None) / (~right).sum()
    expected = [(hits / (hits + share * errors)).mean() for share in kept_errors]
    found = calibration.uar_by_share(one, LABELS, right)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    by_luck = calibration.uar_by_share(one, LABELS, right * 0)
    np.testing.assert_allclose(by_luck, summarise(one, LABELS)["uar"])


def test_the_surest_of_each_seed_and_draw_are_kept(cells):
    sure = calibration.certainty(cells)
    assert calibration.surest(cells, 0).all()
    kept = calibration.surest(cells, 30)
    for _, cell in cells.groupby(["seed", "draw"]):
        inside = kept[cell.index]
        assert (~inside).sum() == int(len(cell) * 0.3)
        assert sure[cell.index][inside].min() >= sure[cell.index][~inside].max()


def test_of_equally_certain_ones_no_emotion_goes_first():
    p = np.tile([0.4, 0.3, 0.2, 0.1], (400, 1))
    data = scored(p, np.repeat(LABELS, 100))
    kept = calibration.surest(data, 50)
    assert kept.sum() == 200 and kept.equals(calibration.surest(data, 50))
    assert data[kept]["true"].value_counts().between(35, 65).all()
