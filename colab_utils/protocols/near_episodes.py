"""Episodes as near to those that are wanted as the utterances of a side allow."""

from collections.abc import Iterable, Iterator, Sequence

import pandas as pd

from colab_utils.protocols.episodes import EpisodeError, EpisodePlan, EpisodePool

_LESS = (10, 5, 2, 1)  # utterances of a class that may stand in for more


def films_shared(plan: EpisodePlan) -> list[EpisodePlan]:
    """A plan, and where films are to be apart the same with them shared.

    The rarest emotion of EmoFilm has 50 clips a language, the published episodes up to 50.
    """
    if plan.apart != ("film",):
        return [plan]
    shared = EpisodePlan(plan.ways, plan.shots, plan.queries, (), plan.within)
    return [plan, shared]


def smaller(plan: EpisodePlan) -> Iterator[EpisodePlan]:
    """`plan`, then fewer queries, fewer shots, nothing apart, fewer ways: for validation.

    A validation side of a few held-out speakers rarely has the clips of a test episode.
    """
    for ways in range(plan.ways, 1, -1):
        for apart in dict.fromkeys((plan.apart, ())):
            for shots in _up_to(plan.shots):
                for queries in _up_to(plan.queries):
                    yield EpisodePlan(ways, shots, queries, apart, plan.within)


def _up_to(number: int) -> list[int]:
    """A number of utterances and the smaller ones that may stand in for it, the largest first."""
    return [number, *(less for less in _LESS if less < number)]


def pool_that_fits(
    rows: pd.DataFrame,
    labels: Sequence[str],
    plans: Iterable[EpisodePlan],
    seed: int,
    tasks: range,
    stream: str,
) -> EpisodePool:
    """The pool of the first of some plans by which all tasks can be drawn.

    Args:
        rows: as of `EpisodePool`.
        labels: so, too.
        plans: the one that is wanted first.
        seed: of the draws.
        tasks: their numbers.
        stream: of STREAMS.

    Returns:
        The pool; its `plan` says which plan it is.

    Raises:
        EpisodeError: that of the first plan, where none works.
    """
    first = None
    for plan in plans:
        try:
            pool = EpisodePool(rows, labels, plan)
            pool.episodes(seed, tasks.start, len(tasks), stream)
            return pool
        except EpisodeError as error:
            first = first or error
    raise first
