"""The figures that RLMRec prints (Ren et al., WWW 2024), to stand beside ours."""

from collections.abc import Mapping

_SIZES = {(11_000, 9_332): 0, (11_091, 11_010): 1, (23_310, 5_237): 2}
"""Users and items of Amazon-book, Yelp and Steam as the authors publish them."""

_Figures = tuple[float | None, float | None, float | None]
"""On Amazon-book, Yelp and Steam; None where we do not know it."""

_RECALL_20: Mapping[tuple[str, str], _Figures] = {
    ("gccf", "base"): (0.1343, 0.1084, 0.1313),
    ("gccf", "con"): (0.1395, 0.1144, 0.1398),
    ("gccf", "gen"): (0.1372, 0.1074, 0.1385),
    ("lightgcn", "base"): (0.1411, 0.1157, 0.1348),
    ("lightgcn", "con"): (0.1483, 0.1230, 0.1421),
    ("lightgcn", "gen"): (0.1446, 0.1209, 0.1433),
    ("lightgcn", "kar"): (0.1416, 0.1194, None),
    ("sgl", "base"): (0.1473, 0.1197, 0.1444),
    ("sgl", "con"): (0.1528, 0.1248, 0.1489),
    ("sgl", "gen"): (0.1537, 0.1263, 0.1476),
    ("sgl", "kar"): (0.1372, 0.1208, None),
    ("simgcl", "base"): (0.1512, 0.1254, 0.1436),
    ("simgcl", "con"): (0.1552, 0.1292, 0.1482),
    ("simgcl", "gen"): (0.1524, 0.1267, 0.1456),
    ("dccf", "base"): (0.1517, 0.1249, 0.1437),
    ("dccf", "con"): (0.1563, 0.1321, 0.1459),
    ("dccf", "gen"): (0.1559, 0.1281, 0.1430),
    ("autocf", "base"): (0.1536, 0.1280, 0.1358),
    ("autocf", "con"): (0.1586, 0.1319, 0.1372),
    ("autocf", "gen"): (0.1581, 0.1330, 0.1410),
}
"""Test Recall@20 (tables 1 and 2)."""

_NDCG_20: Mapping[tuple[str, str], _Figures] = {
    ("gccf", "base"): (0.0807, 0.0680, None),
    ("lightgcn", "base"): (0.0856, 0.0733, None),
    ("lightgcn", "kar"): (0.0863, 0.0756, None),
    ("sgl", "base"): (0.0913, 0.0753, None),
    ("sgl", "kar"): (0.0875, 0.0761, None),
    ("simgcl", "base"): (0.0919, 0.0801, None),
    ("dccf", "base"): (0.0943, 0.0800, None),
    ("autocf", "base"): (0.0984, 0.0813, None),
}
"""Test NDCG@20 (tables 1 and 2), as far as we know it."""

_PRETRAINED: Mapping[str | None, Mapping[str, float]] = {
    None: {"recall": 0.0820, "ndcg": 0.0375},
    "base": {"recall": 0.0971, "ndcg": 0.0439},
    "con": {"recall": 0.1034, "ndcg": 0.0475},
    "gen": {"recall": 0.1068, "ndcg": 0.0484},
}
"""LightGCN on Yelp's 2018 and 2019, by the variant of the model of 2012 to 2017 that started it (table 3); at 20."""

_SECONDS: Mapping[tuple[str, str], tuple[float, float]] = {
    ("gccf", "base"): (0.88, 1.11),
    ("gccf", "con"): (1.95, 2.39),
    ("gccf", "gen"): (1.72, 2.03),
    ("lightgcn", "base"): (1.01, 1.26),
    ("lightgcn", "con"): (1.94, 2.57),
    ("lightgcn", "gen"): (1.76, 2.12),
    ("sgl", "base"): (2.18, 2.80),
    ("sgl", "con"): (2.58, 3.27),
    ("sgl", "gen"): (2.36, 3.20),
    ("simgcl", "base"): (2.62, 3.35),
    ("simgcl", "con"): (3.02, 3.95),
    ("simgcl", "gen"): (2.69, 3.50),
    ("dccf", "base"): (2.26, 3.02),
    ("dccf", "con"): (2.49, 3.42),
    ("dccf", "gen"): (2.29, 3.24),
    ("autocf", "base"): (2.73, 3.96),
    ("autocf", "con"): (2.96, 4.41),
    ("autocf", "gen"): (2.96, 4.39),
}
"""Seconds of a training epoch without evaluation on Amazon-book and Yelp, GeForce RTX 3090 (table 4)."""


def accuracy(n_users: int, n_items: int, backbone: str, variant: str, metric: str) -> float | None:
    """Its test recall or ndcg at 20, a mean of five seeds; None where the sizes are not those of its data."""
    place = _SIZES.get((n_users, n_items))
    known = {"recall": _RECALL_20, "ndcg": _NDCG_20}.get(metric, {}).get((backbone, variant))
    return None if place is None or known is None else known[place]


def pretrained(variant: str | None, metric: str) -> float | None:
    """The same of LightGCN on the later of Yelp's two periods; variant: of the model that started it, if one did."""
    return _PRETRAINED.get(variant, {}).get(metric)


def seconds(backbone: str, variant: str) -> tuple[float | None, float | None]:
    """Seconds of an epoch on Amazon-book and on Yelp."""
    return _SECONDS.get((backbone, variant), (None, None))
