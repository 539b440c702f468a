import torch
import torch.nn.functional as F


def adaptive(edges, by, nodes):
    cosine = F.cosine_similarity(by[:, None], by[None], dim=2)
    weights = edges * (cosine + 1) / 2
    return weights / weights.sum(1, keepdim=True) @ nodes


def direct(world, n_layers=2):
    """The sum over layers, and G, I, GA and IA of each."""
    nodes = total = world.table
    found = []
    for _ in range(n_layers):
        graph = world.adjacency @ nodes
        intents = (world.model.user_intents, world.model.item_intents)
        sides = zip(nodes.split([6, 5]), intents, strict=True)
        intent = torch.cat([F.softmax(side @ c, dim=1) @ c.T for side, c in sides])
        views = graph, intent, adaptive(world.edges, graph, nodes), adaptive(world.edges, intent, nodes)
        found.append(views)
        nodes = sum(views) + nodes
        total = total + nodes
    return total, found


def test_encode_equals_the_direct_computation(world):
    dccf = world("dccf", n_layers=2, n_intents=4)
    dccf.check(dccf.model.encode(dccf.table), direct(dccf)[0])


def test_step_equals_the_direct_computation(world, naive):
    dccf = world("dccf", n_layers=2, n_intents=4, cl_weight=0.3, cl_tau=0.2)
    nodes, losses = dccf.step()
    expected, found = direct(dccf)
    users, items = torch.tensor([0, 2, 3, 5]), torch.tensor([0, 1, 2, 3]) + 6
    items = items[dccf.batch.positives.unique()]
    cl = 0
    for graph, *views in found:
        for ids in (users, items):
            for view in views:
                cl = cl + naive.nce(graph[ids], view[ids], view[ids], 0.2) * len(ids) / len(users)
    dccf.check(nodes, expected)
    dccf.check(losses["bpr"], dccf.bpr(expected))
    dccf.check(losses["cl"], 0.3 * cl)


def test_item_terms_are_divided_by_the_number_of_users(world, naive):
    dccf = world("dccf", n_layers=1, n_intents=4, cl_weight=1.0, cl_tau=0.2)
    dccf.batch = dccf.batch._replace(users=torch.tensor([1] * 6))
    losses = dccf.step().losses
    graph, *views = direct(dccf, 1)[1][0]
    items = dccf.batch.positives.unique() + 6
    terms = [naive.nce(graph[items], view[items], view[items], 0.2) for view in views]
    dccf.check(losses["cl"], len(items) * sum(terms))  # a single user's own terms are 0
