"""EMOFSL: few-shot fine-tuning guided by emotion distance, with its rivals BTL and FSTL.

Source: Yue, Wu, Qu, Zheng, Zhao & Li 2023, APSIPA ASC, pp. 1008-1012. For frozen features, one
vector an utterance (`emofsl.layers`: with layers of the encoder that learn). Three stages:

1. `source.SourceLearner` trains projection and head on the source;
2. `fine_tune` goes on from there on the k-shot support of the target, many draws at once, with
   cross-entropy alone (BTL) or with the loss of equation 1 (FSTL) or 2 (EMOFSL) on the projection;
3. `decide` compares queries with the class centres of the support, or asks the head.
"""

import functools
from collections.abc import Iterable, Sequence

import pandas as pd
import torch
from torch.nn import functional

from colab_utils.learning.heads import class_means
from colab_utils.learning.own import checked, in_one_sentence, name_of
from colab_utils.learning.tasks import probabilities
from colab_utils.learning.training import TrainingError
from colab_utils.methods.emofsl import circumplex
from colab_utils.methods.emofsl.network import EmofslNet, Parameters, forward
from colab_utils.methods.emofsl.pair_losses import EPS, emotion_distance, graded_distance, siamese
from colab_utils.methods.emofsl.settings import EmofslConfig
from colab_utils.methods.emofsl.source import Metric
from colab_utils.settings import SettingError, check

_MOST = 2**26  # numbers of the query that are held at once, all draws together


# --- the metric loss ------------------------------------------------------------------------------


def levels_and_margins(
    config: EmofslConfig,
    emotions: Sequence[str],
    coordinates: circumplex.Coordinates = circumplex.COORDINATES,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What `metric_loss` uses, for a figure or a reader; arguments as there.

    Returns:
        The level of each pair of emotions, a table of "PP", "PN", "MN"; and its margin.

    Raises:
        SettingError: for an emotion without coordinates.
    """
    apart = circumplex.emotion_distances(emotions, coordinates, config.valence)
    levels = circumplex.pair_levels(apart, config.far)
    if config.margins == "paper":
        margins = levels.map({"PP": 0.0, "PN": config.alpha, "MN": config.beta}.get)
    else:
        margins = circumplex.graded_margins(apart, config.alpha, config.beta)
    return levels, margins


def metric_loss(
    config: EmofslConfig,
    emotions: Sequence[str],
    coordinates: circumplex.Coordinates = circumplex.COORDINATES,
) -> Metric | None:
    """The metric term of config.method, (embedding, y) -> (draws,); None for BTL.

    It is called with an embedding (draws, n, width) and class ids y, (draws, n) or (n,).

    Args:
        config: the settings.
        emotions: in the order of the class ids.
        coordinates: of `circumplex.coordinates_from_annotations` on the source; default: the
            table's.

    Raises:
        SettingError: for settings that cannot work, and an emotion without coordinates.
    """
    check(config)
    if config.method == "BTL":
        return None
    if config.method == "FSTL":
        return functools.partial(
            siamese,
            kappa=config.kappa,
            cap=config.cap,
            normalise=config.normalise,
            reduction=config.reduction,
        )
    levels, margins = levels_and_margins(config, emotions, coordinates)
    if config.margins == "paper":
        return functools.partial(
            emotion_distance,
            far=torch.as_tensor(levels.to_numpy() == "PN"),
            alpha=config.alpha,
            beta=config.beta,
            kappa1=config.kappa1,
            kappa2=config.kappa2,
            normalise=config.normalise,
            reduction=config.reduction,
        )
    margins = torch.as_tensor(margins.to_numpy())
    share = (margins - config.beta) / (config.alpha - config.beta)
    return functools.partial(
        graded_distance,
        margins=margins,
        weights=config.kappa2 + (config.kappa1 - config.kappa2) * share,
        normalise=config.normalise,
        reduction=config.reduction,
    )


def own_metric(own: Metric) -> Metric:
    """A metric loss of the user's own, which is checked at every call.

    Args:
        own: (embedding (draws, n, width), y (draws, n)) -> (draws,), or a loss of
            pytorch-metric-learning, (embedding (n, width), y (n,)) -> scalar, which is then asked
            draw by draw.

    Returns:
        The same as a function that raises SettingError, in one sentence, where it fails or gives
        something else.

    Raises:
        SettingError: a loss with weights of its own, which nobody would train.
    """
    loss = own
    form = "(embedding (draws, n, width), y (draws, n)) -> (draws,)"
    if any(kind.__module__.startswith("pytorch_metric_learning") for kind in type(own).__mro__):
        form = "(embedding (n, width), y (n,)) -> a scalar"

        def loss(embedding: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            losses = [own(*draw) for draw in zip(embedding, y, strict=True)]
            return torch.stack(losses)

    what = f"the metric loss {name_of(own)}, {form}"
    weights = own.parameters() if isinstance(own, torch.nn.Module) else []
    if any(one.requires_grad for one in weights):
        raise SettingError(
            f"{what}: it has weights of its own, which the fine-tuning does not train: take a loss "
            "without, or fix them by requires_grad_(False)"
        )

    def metric(embedding: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        draws = embedding.shape[:2]
        with in_one_sentence(what):
            found = loss(embedding, y.expand(draws))
        learning = embedding.requires_grad
        return checked(what, found, draws[:1], embedding, learning=learning)

    return metric


# --- stage 2: the support -------------------------------------------------------------------------


def parameters_of_draws(
    module: EmofslNet, n_draws: int, tune: str
) -> tuple[Parameters, list[torch.Tensor]]:
    """The source's weights for each draw, {name: (draws, ...)}, and those of them that learn.

    Args:
        module: the source's network.
        n_draws: how many draws.
        tune: "head" for the head alone, "all" for projection and layer weights besides.
    """
    learning = ["head"]
    if tune == "all":
        learning = ["head", "projection", "layer_weights"]
    parameters = {}
    tuned = []
    for name, value in module.state_dict().items():
        of_draws = value.expand(n_draws, *value.shape)
        if name.split(".")[0] in learning:
            of_draws = of_draws.clone().requires_grad_()
            tuned.append(of_draws)
        parameters[name] = of_draws
    return parameters, tuned


def fine_tune(
    module: EmofslNet,
    support: torch.Tensor,
    y: torch.Tensor,
    config: EmofslConfig,
    metric: Metric | None,
) -> Parameters:
    """Stage 2: from the source's weights on, each support draw for itself.

    `config.epochs` updates by Adam on the whole support, whose learning rate shrinks by the factor
    `config.decay` each time. The loss is cross-entropy + config.loss_weight * metric(embedding, y).
    All draws are one computation: their losses are added and Adam treats every number by itself,
    so each draw ends as it would alone. Gradients are not clipped, for Adam divides by their size.

    With config.tune = "head" the projection stays and with it the embedding: the metric loss then
    changes nothing. `config.centre` says whose mean is subtracted from the features: the source's
    (0), the support's (1), or one between.

    Args:
        module: the source's network; it stays as it is.
        support: features, float (draws, n, dim).
        y: class ids, int64 (draws, n) or (n,).
        config: the settings.
        metric: (embedding (draws, n, width), y (draws, n)) -> (draws,), such as `metric_loss`
            makes; None for cross-entropy alone (BTL).

    Returns:
        The parameters of each draw, {name: (draws, ...)}, for `decide`.

    Raises:
        SettingError: for settings that cannot work.
        TrainingError: where a draw diverges.

    Example:
        >>> metric = metric_loss(config, ["anger", "happiness", "neutral", "sadness"])
        >>> parameters = fine_tune(learner.module, support, y, config, metric)
        >>> scores = decide(parameters, query, support, y, config)["head"]
    """
    check_settings(config, module)
    parameters, tuned = parameters_of_draws(module, len(support), config.tune)
    # from the source's mean towards the support's
    parameters["mean"] = torch.lerp(parameters["mean"], support.mean(dim=1), config.centre)

    # fused: Adam's own arithmetic would else take most of the time
    optimiser = torch.optim.Adam(tuned, lr=config.learning_rate, fused=True)
    decay = torch.optim.lr_scheduler.ExponentialLR(optimiser, config.decay)
    for _ in range(config.epochs):
        logits, embedding = forward(parameters, support, module.activation)
        loss = loss_of(logits, embedding, y, config, metric)
        optimiser.zero_grad()
        loss.sum().backward()
        optimiser.step()
        decay.step()

    check_finite(parameters.values())
    return {name: value.detach() for name, value in parameters.items()}


def loss_of(
    logits: torch.Tensor,
    embedding: torch.Tensor,
    y: torch.Tensor,
    config: EmofslConfig,
    metric: Metric | None,
) -> torch.Tensor:
    """What the fine-tuning lowers, for each draw: cross-entropy + loss_weight * metric(F, y).

    Args:
        logits: float (draws, n, classes).
        embedding: F, float (draws, n, width).
        y: class ids, int64 (draws, n) or (n,).
        config: the settings.
        metric: of `metric_loss`, or one's own of that form; None: cross-entropy alone.

    Returns:
        Float (draws,).
    """
    y_of_draws = y.expand(logits.shape[:2])
    loss = functional.cross_entropy(logits.transpose(1, 2), y_of_draws, reduction="none")
    loss = loss.mean(dim=1)
    if metric is not None:
        loss = loss + config.loss_weight * metric(embedding, y)
    return loss


def check_settings(config: EmofslConfig, net: EmofslNet) -> None:
    """Raise SettingError for settings that cannot work, alone or with the source's network."""
    check(config)
    if config.activation != net.activation:
        raise SettingError(
            f"activation = {config.activation!r}, but the source was trained with "
            f"{net.activation!r}: train it again"
        )


def check_finite(weights: Iterable[torch.Tensor]) -> None:
    """Raise TrainingError where a fine-tuning has diverged."""
    if not all(bool(torch.isfinite(value).all()) for value in weights):
        raise TrainingError(
            "fine-tuning ended in numbers that are not finite: lower learning_rate or layers_rate, "
            "or look for broken features"
        )


# --- stage 3: the query ---------------------------------------------------------------------------


@torch.no_grad()
def decide(
    parameters: Parameters,
    query: torch.Tensor,
    support: torch.Tensor,
    y: torch.Tensor,
    config: EmofslConfig,
) -> dict[str, torch.Tensor]:
    """Stage 3: scores of the query by either rule.

    prototype: softmax of minus the distance (or of the cosine) to the mean of the support's
    embeddings of each class; the order means something, the size is not calibrated, as distances
    lie between 0 and 2. A class without support is never chosen by it. head: softmax of the
    logits.

    Args:
        parameters: of `fine_tune`.
        query: float (n_query, dim), the same for all draws.
        support: as fine-tuned.
        y: as fine-tuned.
        config: the settings.

    Returns:
        {"prototype", "head"}: float (draws, n_query, classes) that sum to 1.
    """
    logits = []
    found = []
    for part in query.split(max(1, _MOST // support[:, 0].numel())):
        part_logits, part_embedding = forward(parameters, part, config.activation)
        logits.append(part_logits)
        found.append(part_embedding)
    known = forward(parameters, support, config.activation)[1]
    return scores_of(torch.cat(logits, dim=1), torch.cat(found, dim=1), known, y, config)


def scores_of(
    logits: torch.Tensor,
    found: torch.Tensor,
    known: torch.Tensor,
    y: torch.Tensor,
    config: EmofslConfig,
) -> dict[str, torch.Tensor]:
    """`decide` for what the network gives.

    Args:
        logits: of the query, (draws, n_query, classes).
        found: projections F of the query, (draws, n_query, width).
        known: projections F of the support, (draws, n, width).
        y: class ids of the support, (draws, n) or (n,).
        config: the settings.
    """
    y = y.expand(known.shape[:2])
    if config.normalise:
        found = functional.normalize(found, dim=-1, eps=EPS)
        known = functional.normalize(known, dim=-1, eps=EPS)
    classes = logits.shape[-1]
    centres = class_means(known, y, classes)
    if config.similarity == "cosine":
        directions = functional.normalize(centres, dim=-1, eps=EPS).transpose(1, 2)
        nearness = functional.normalize(found, dim=-1, eps=EPS) @ directions
    else:
        nearness = -torch.cdist(found, centres, compute_mode="donot_use_mm_for_euclid_dist")
    there = functional.one_hot(y, classes).any(dim=1)
    return {"prototype": probabilities(nearness, there), "head": torch.softmax(logits, dim=-1)}
