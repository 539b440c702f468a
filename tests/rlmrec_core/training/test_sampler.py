import pytest
import torch

from rlmrec_core.split import Split
from rlmrec_core.training.sampler import PairSampler


def test_an_epoch_holds_every_train_pair_once(checkerboard):
    batches = list(PairSampler(checkerboard, batch_size=200).epoch(torch.Generator().manual_seed(0)))
    assert [len(batch.users) for batch in batches] == [200, 200, 200, 120]
    pairs = {(int(u), int(i)) for batch in batches for u, i in zip(batch.users, batch.positives, strict=True)}
    assert pairs == set(zip(checkerboard.train.user.tolist(), checkerboard.train.item.tolist(), strict=True))


def test_negatives_are_never_train_items_and_reach_all_others(checkerboard):
    sampler = PairSampler(checkerboard, batch_size=50)
    users = torch.zeros(4000, dtype=torch.int64)
    known = set(checkerboard.train.item[checkerboard.train.user == 0].tolist())
    drawn = sampler.negatives(users, torch.Generator().manual_seed(1))
    counts = torch.bincount(drawn, minlength=checkerboard.n_items)
    assert set(drawn.tolist()) == set(range(checkerboard.n_items)) - known
    expected = 4000 / (checkerboard.n_items - len(known))
    assert (counts[counts > 0] - expected).abs().max() < 6 * expected**0.5  # uniform


def test_epochs_differ_and_seeds_repeat(checkerboard):
    sampler = PairSampler(checkerboard, batch_size=1000)
    generator = torch.Generator().manual_seed(2)
    first, second = (next(sampler.epoch(generator)) for _ in range(2))
    again = next(sampler.epoch(torch.Generator().manual_seed(2)))
    assert not torch.equal(first.users, second.users)
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(first, again, strict=True))


def test_negatives_can_be_left_out(checkerboard):
    assert next(PairSampler(checkerboard, 10).epoch(torch.Generator(), negatives=False)).negatives is None


def test_a_user_with_every_item_is_refused(hand_split):
    split = Split(3, 2, hand_split.train, hand_split.validation, hand_split.test)
    with pytest.raises(ValueError, match="user 0 has every item"):
        PairSampler(split, 4)
