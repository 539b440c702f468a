import pytest
import torch

from rlmrec_core.models.graph.sampler import PairSampler
from rlmrec_core.split import Edges, Split


def test_an_epoch_holds_every_train_pair_once(checkerboard):
    batches = list(PairSampler(checkerboard, batch_size=200).epoch(torch.Generator().manual_seed(0)))
    assert [len(batch.users) for batch in batches] == [200, 200, 200, 120]
    pairs = {(int(u), int(i)) for batch in batches for u, i in zip(batch.users, batch.positives, strict=True)}
    assert pairs == set(zip(checkerboard.train.user.tolist(), checkerboard.train.item.tolist(), strict=True))


def test_negatives_are_never_train_items_and_reach_all_others(checkerboard):
    sampler = PairSampler(checkerboard, batch_size=50)
    generator = torch.Generator().manual_seed(1)
    n_pairs = len(sampler.user)
    counts = torch.zeros(checkerboard.n_users, checkerboard.n_items, dtype=torch.int64)
    for _ in range(200):
        order = torch.randperm(n_pairs, generator=generator)
        counts.index_put_((sampler.user[order], sampler.negatives(order, generator)), torch.tensor(1), accumulate=True)
    known = torch.zeros(counts.shape, dtype=torch.bool)
    known[sampler.user, sampler.item] = True
    assert torch.equal(counts == 0, known)
    degree = known.sum(1, keepdim=True)
    expected = 200 * degree / (checkerboard.n_items - degree)
    assert ((counts - expected)[~known].abs() < 6 * expected.expand(counts.shape)[~known].sqrt()).all()  # uniform


def test_epochs_differ_and_seeds_repeat(checkerboard):
    sampler = PairSampler(checkerboard, batch_size=1000)
    generator = torch.Generator().manual_seed(2)
    first, second = (next(sampler.epoch(generator)) for _ in range(2))
    again = next(sampler.epoch(torch.Generator().manual_seed(2)))
    assert not torch.equal(first.users, second.users)
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(first, again, strict=True))


def test_negatives_can_be_left_out(checkerboard):
    assert next(PairSampler(checkerboard, 10).epoch(torch.Generator(), negatives=False)).negatives is None


def test_a_user_with_every_item_is_left_out(hand_split):
    user, item = hand_split.train
    split = Split(3, 2, Edges(user[:3], item[:3]), hand_split.validation, hand_split.test)
    batch = next(PairSampler(split, 4).epoch(torch.Generator().manual_seed(1)))
    assert batch.users.tolist() == [1] and batch.negatives.tolist() == [1]
    alone = Split(1, 2, Edges(user[:2], item[:2]), hand_split.validation, hand_split.test)
    with pytest.raises(ValueError, match="every user has every item"):
        PairSampler(alone, 4)
