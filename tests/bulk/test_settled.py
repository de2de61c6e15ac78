"""Which records are settled, whatever the order in which they become so."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from concurrent_exec.bulk.records import Chunk
from concurrent_exec.bulk.settled import Part, Settled


@given(st.data(), st.lists(st.lists(st.booleans(), min_size=1, max_size=4), max_size=4))
def test_any_order(data: st.DataObject, chunks: list[list[bool]]) -> None:
    """At any moment the snapshot has just what is settled."""
    settled, first = Settled(), 0
    sent: list[tuple[Part, int, int]] = []
    at = 0
    wanted: set[int] = set()
    for chunk_of in chunks:
        ordinals = [first + n for n, is_sent in enumerate(chunk_of) if is_sent]
        count = len(chunk_of)
        wanted |= set(range(first, first + count)) - set(ordinals)
        chunk = Chunk("", first, count, ordinals, ordinals, {}, "text")
        part = Part(chunk, len(sent), ordinals, None)
        settled.opens(part)
        sent += [(part, len(sent) + n, ordinal) for n, ordinal in enumerate(ordinals)]
        first += count
    sent = data.draw(st.permutations(sent))
    while at < len(sent):
        together = sent[at : at + data.draw(st.integers(1, 5))]
        at += len(together)
        for part, index, ordinal in together:
            assert part.chunk.ordinals[part.row(index)] == ordinal
            assert settled.part_of(index) is part
            wanted.add(ordinal)
        settled.settle([index for _, index, _ in together])
        done, beyond = settled.snapshot()
        found = [*range(done), *(n for start, end in beyond for n in range(start, end))]
        assert sorted(wanted) == found
        assert done not in wanted
        # As few ranges as there can be, and the same when a later run begins with them.
        assert all(end < start for (_, end), (start, _) in pairwise(beyond))
        again = Settled(done, beyond)
        assert again.snapshot() == (done, beyond)
        assert {n for n in range(first + 2) if again.has(n)} == wanted
    assert settled.snapshot() == (first, [])
