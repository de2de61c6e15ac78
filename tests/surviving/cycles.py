"""Which objects are in a reference cycle, and not merely held by one."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any


def in_cycles(objects: list[Any]) -> list[Any]:
    """Return those of `objects` from which a way over other ones leads back to themselves.

    They are the members of the strongly connected components with more than one member, and what
    refers to itself (Tarjan, "Depth-first search and linear graph algorithms", 1972).
    """
    known = {id(each): each for each in objects}

    def referents(number: int) -> Iterator[int]:
        found = gc.get_referents(known[number])
        return (id(each) for each in found if id(each) in known)

    found: list[Any] = []
    order: dict[int, int] = {}
    lowest: dict[int, int] = {}
    open_ones: dict[int, None] = {}  # the components that are not complete, in order
    for root in known:
        if root in order:
            continue
        order[root] = lowest[root] = len(order)
        open_ones[root] = None
        path = [(root, referents(root))]
        while path:
            number, rest = path[-1]
            for other in rest:
                if other not in order:
                    order[other] = lowest[other] = len(order)
                    open_ones[other] = None
                    path.append((other, referents(other)))
                    break
                if other in open_ones:
                    lowest[number] = min(lowest[number], order[other])
                    if other == number:
                        found.append(known[number])
            else:
                path.pop()
                if path:
                    above = path[-1][0]
                    lowest[above] = min(lowest[above], lowest[number])
                if lowest[number] == order[number]:
                    component = [number]
                    while (last := open_ones.popitem()[0]) != number:
                        component.append(last)
                    if len(component) > 1:
                        found += [known[each] for each in component]
    return found
