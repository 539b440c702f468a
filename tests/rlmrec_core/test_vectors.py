"""Vectors of length one."""

import numpy as np
import pytest

from rlmrec_core.vectors import unit_rows


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("scale", [1.0, 1e-44, 1e-30, 1e-20, 1e20, 1e38])
def test_rows_of_any_length_get_length_one(scale):
    direction = np.array([3.0, 0.0, -1.0])
    rows = np.stack([direction * scale, np.zeros(3), direction]).astype(np.float32)
    found = unit_rows(rows)
    assert found.dtype == np.float32 and not found[1].any()
    expected = rows[0].astype(np.float64) / np.linalg.norm(rows[0].astype(np.float64))
    np.testing.assert_allclose(found[0], expected, rtol=1e-6)
    np.testing.assert_allclose(found[2], direction / np.sqrt(10), rtol=1e-6)
