"""RFC 6962 trees: published roots, and every shape up to some size against the recursive definition."""

import pytest

from anchor.errors import MerkleInvalid
from anchor.merkle import (
    EMPTY_ROOT,
    Frontier,
    GrowingTree,
    consistency_path,
    inclusion_path,
    leaf_hash,
    root,
    root_from_inclusion,
    verify_consistency,
)
from tests.unit import naive_formats as naive
from tests.vectors.ledger_cases import CT_LEAVES

# google/certificate-transparency, merkletree tests: roots of the first 1 to 8 leaves.
PUBLISHED_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
LEAVES = [leaf_hash(each.to_bytes(2, "big")) for each in range(512)]


def test_published_roots() -> None:
    leaves = [leaf_hash(bytes.fromhex(each)) for each in CT_LEAVES]
    assert [root(leaves[:size]).hex() for size in range(1, 9)] == PUBLISHED_ROOTS
    assert root([]).hex() == EMPTY_ROOT.hex() == EMPTY


@pytest.mark.parametrize("sizes", [range(1, 101), range(101, 301, 7), [511, 512]])
def test_root_equals_the_recursive_definition(sizes: range | list[int]) -> None:
    for size in sizes:
        assert root(LEAVES[:size]) == naive.tree_head(LEAVES[:size])


def test_every_leaf_of_every_small_tree_is_included() -> None:
    for size in range(1, 40):
        leaves = LEAVES[:size]
        for index in range(size):
            path = inclusion_path(leaves, index)
            assert path == naive.audit_path(index, leaves)
            assert root_from_inclusion(leaves[index], index, size, path) == root(leaves)


def test_leaf_is_included_nowhere_else() -> None:
    for size in range(2, 20):
        head = root(LEAVES[:size])
        for index in range(size):
            path = inclusion_path(LEAVES[:size], index)
            for other in set(range(size)) - {index}:
                try:
                    assert root_from_inclusion(LEAVES[index], other, size, path) != head
                except MerkleInvalid:
                    continue


def test_every_prefix_of_every_small_tree_is_consistent() -> None:
    for size in range(40):
        for first in range(size + 1):
            path = consistency_path(LEAVES[:size], first)
            verify_consistency(first, size, root(LEAVES[:first]), root(LEAVES[:size]), path)


def test_forked_log_is_not_consistent() -> None:
    for size in range(2, 20):
        for first in range(1, size):
            forked = [*LEAVES[: first - 1], leaf_hash(b"forked"), *LEAVES[first:size]]
            path = consistency_path(forked, first)
            with pytest.raises(MerkleInvalid):
                verify_consistency(first, size, root(LEAVES[:first]), root(forked), path)


def test_each_byte_of_a_consistency_proof_counts() -> None:
    path = consistency_path(LEAVES[:13], 6)
    heads = (root(LEAVES[:6]), root(LEAVES[:13]))
    for at in range(len(path)):
        for byte in (0, 31):
            altered = bytearray(path[at])
            altered[byte] ^= 1
            with pytest.raises(MerkleInvalid):
                verify_consistency(6, 13, *heads, [*path[:at], bytes(altered), *path[at + 1 :]])


def test_consistency_proof_fits_only_trees_that_need_as_many_hashes() -> None:
    # Sizes are not hashed, so only the length of the proof ties it to them.
    pairs = [(first, second) for second in range(2, 18) for first in range(1, second)]
    paths = {pair: consistency_path(LEAVES[: pair[1]], pair[0]) for pair in pairs}
    for proven, path in paths.items():
        heads = (root(LEAVES[: proven[0]]), root(LEAVES[: proven[1]]))
        for claimed in pairs:
            if len(paths[claimed]) != len(path):
                with pytest.raises(MerkleInvalid, match=r"short|long|empty|other roots"):
                    verify_consistency(*claimed, *heads, path)


def test_consistency_proof_with_hashes_to_spare_is_too_long() -> None:
    path = [*consistency_path(LEAVES[:7], 3), bytes(32)]
    with pytest.raises(MerkleInvalid, match="too long"):
        verify_consistency(3, 7, root(LEAVES[:3]), root(LEAVES[:7]), path)


def test_frontier_follows_the_tree() -> None:
    frontier = Frontier()
    for size in range(130):
        assert (frontier.size, frontier.root()) == (size, root(LEAVES[:size]))
        frontier = Frontier.decode(frontier.encode())
        frontier.append(LEAVES[size])


def test_frontier_refuses_what_is_no_hash() -> None:
    with pytest.raises(MerkleInvalid):
        Frontier().append(b"short")


# google/certificate-transparency, cpp/merkletree/merkle_tree_test.cc (precomputed proofs), transparency-dev/merkle.
PUBLISHED_CONSISTENCY = {
    (1, 1): [],
    (1, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}


@pytest.mark.parametrize(("sizes", "published"), PUBLISHED_CONSISTENCY.items())
def test_published_consistency_proofs(sizes: tuple[int, int], published: list[str]) -> None:
    leaves = [leaf_hash(bytes.fromhex(each)) for each in CT_LEAVES]
    first, second = sizes
    path = consistency_path(leaves[:second], first)
    assert [each.hex() for each in path] == published
    heads = (bytes.fromhex(PUBLISHED_ROOTS[first - 1]), bytes.fromhex(PUBLISHED_ROOTS[second - 1]))
    verify_consistency(first, second, *heads, path)


def test_growing_tree_answers_for_every_size_it_ever_had() -> None:
    tree = GrowingTree()
    for leaf in LEAVES[:70]:
        tree.append(leaf)
    for second in range(71):
        assert tree.root_at(second) == naive.tree_head(LEAVES[:second])
        for first in range(second + 1):
            assert tree.consistency_path(first, second) == consistency_path(LEAVES[:second], first)


def test_growing_tree_gives_the_path_of_every_leaf() -> None:
    tree = GrowingTree()
    for size in range(1, 40):
        tree.append(LEAVES[size - 1])
        for index in range(size):
            assert tree.inclusion_path(index) == naive.audit_path(index, LEAVES[:size])
    with pytest.raises(MerkleInvalid):
        tree.inclusion_path(39)


def test_growing_tree_answers_for_no_size_that_it_never_had() -> None:
    tree = GrowingTree()
    tree.append(LEAVES[0])
    for ask in (
        lambda: tree.root_at(2),
        lambda: tree.consistency_path(1, 2),
        lambda: tree.consistency_path(2, 1),
    ):
        with pytest.raises(MerkleInvalid):
            ask()
    with pytest.raises(MerkleInvalid):
        tree.append(b"short")
    assert tree.size == 1
