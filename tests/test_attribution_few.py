"""The one pass over a few touches gives what the general attribution gives."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from edgeloop.settings import AttributionSettings
from streams.attribution import Rules, Touches, attribute, few, last_touches

MODELS = {1: "eta", 2: "eta", 3: "slot", 4: "Änderung"}
"""Two contexts of one model: two versions of it."""


class Touched(NamedTuple):
    exposure_id: str
    at_us: int
    context: int
    delivery_id: str | None


touches = st.lists(
    st.builds(
        Touched,
        st.sampled_from(["x1", "x2", "X1", "😀", "ﬁ", "x3", "x4"]),
        st.integers(0, 12),
        st.sampled_from(list(MODELS)),
        st.sampled_from([None, "d1", "d2"]),
    ),
    max_size=64,
    unique_by=lambda touch: touch.exposure_id,
)
rules = Rules.of(AttributionSettings(credit_rule="last_touch", max_touches=2))


@given(
    touches,
    st.integers(0, 12),
    st.integers(0, 12),
    st.integers(0, 6),
    st.integers(0, 3),
    st.sampled_from([None, "d1", "d2", "d3"]),
)
def test_one_pass_is_as_right_as_the_general_way(
    shown: list[Touched], at_us: int, window_us: int, further_us: int, tolerance_us: int, delivery_id: str | None
) -> None:
    reach_us = window_us + further_us
    assert few(shown, rules)
    of_model: dict[str, list[Touched]] = {}
    for touch in shown:
        of_model.setdefault(MODELS[touch.context], []).append(touch)
    general = attribute(
        Touches(of_model), at_us=at_us, window_us=window_us, reach_us=reach_us, tolerance_us=tolerance_us,
        delivery_id=delivery_id, exposure_id=None, rules=rules,
    )  # fmt: skip
    found = last_touches(
        shown, MODELS, at_us=at_us, window_us=window_us, reach_us=reach_us, tolerance_us=tolerance_us,
        delivery_id=delivery_id,
    )  # fmt: skip
    assert found == general


def test_many_touches_and_other_rules_go_the_general_way() -> None:
    one = Touched("x", 1, 1, None)
    assert few([one] * 64, rules)
    assert not few([one] * 65, rules)
    assert not few([one], Rules.of(AttributionSettings(credit_rule="linear")))
