"""What the code itself says of its rooms: a picture of who imports whom, sizes, public names."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from tests.imports import ROOMS, imported

PACKAGE = Path(__file__).parents[2] / "concurrent_exec"

_STEP, _TOP, _NAMES, _WIDTH = 30, 20, 150, 560


@dataclass
class Room:
    """A module of the package, or a package within it, as its files are."""

    name: str
    purpose: str
    """The first sentence of its docstring."""
    modules: dict[str, int] = field(default_factory=dict)
    """Path and number of lines."""
    imports: set[str] = field(default_factory=set)
    """The other rooms that it imports, at whatever place in its code."""
    public: list[str] = field(default_factory=list)
    """What it says is for others: its `__all__`."""

    @property
    def lines(self) -> int:
        return sum(self.modules.values())


def rooms(package: Path = PACKAGE) -> list[Room]:
    """Return the rooms that are there, from the top of the house down."""
    return [room for name in ROOMS if (room := _room(package, name)) is not None]


def _room(package: Path, name: str) -> Room | None:
    single, folder = package / f"{name}.py", package / name
    if not single.exists() and not folder.is_dir():
        return None
    front = ast.parse((single if single.exists() else folder / "__init__.py").read_text("utf-8"))
    room = Room(name, (ast.get_docstring(front) or "").partition("\n\n")[0], public=_all(front))
    for path in [single] if single.exists() else sorted(folder.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        inside = path.relative_to(package)
        room.modules[inside.as_posix()] = text.count("\n")
        here = (package.name, *inside.with_suffix("").parts[:-1])
        for _, module, what in imported(ast.parse(text), here):
            if module[0] == package.name:
                room.imports |= {module[1] if len(module) > 1 else what} & set(ROOMS) - {name}
    return room


def _all(tree: ast.Module) -> list[str]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return [str(name) for name in ast.literal_eval(node.value)]
    return []


def picture(house: list[Room]) -> str:
    """Return an SVG of the rooms, with an arc from each one up to those that it imports."""
    places = {room.name: _TOP + _STEP * number for number, room in enumerate(house)}
    height = _TOP + _STEP * len(house)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
            f'width="{_WIDTH}" height="{height}" font-family="sans-serif" font-size="13">',
            "<style>path:hover { stroke: #b03a2e; stroke-width: 3 }</style>",
            f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
            *(line for room in house for line in _drawn(room, places)),
            "</svg>\n",
        ]
    )


def _drawn(room: Room, places: dict[str, int]) -> Iterator[str]:
    below = places[room.name]
    for other in sorted(room.imports & places.keys(), key=lambda name: -places[name]):
        above = places[other]
        far = _NAMES + min(40 + (below - above) * 0.8, _WIDTH - _NAMES)
        yield (
            f'<path d="M {_NAMES} {below} C {far:.0f} {below}, {far:.0f} {above}, {_NAMES} {above}"'
            f' fill="none" stroke="#2f6f9f" stroke-opacity="0.5">'
            f"<title>{room.name} imports {other}</title></path>"
        )
    yield (
        f'<rect x="10" y="{below - 11}" width="{_NAMES - 10}" height="22" rx="4" fill="#eef4f8" '
        f'stroke="#2f6f9f"><title>{escape(room.purpose)}</title></rect>'
    )
    yield f'<text x="18" y="{below + 5}">{room.name}</text>'


def table(house: list[Room]) -> str:
    """Return the rooms in Markdown: purpose, modules, lines, and what they import."""
    lines = ["| room | what it has | modules | lines |", "| --- | --- | ---: | ---: |"]
    for room in house:
        purpose = " ".join(room.purpose.split()).replace("|", "\\|")
        lines.append(f"| `{room.name}` | {purpose} | {len(room.modules)} | {room.lines:,} |")
    modules = sum(len(room.modules) for room in house)
    total = sum(room.lines for room in house)
    lines.append(f"| | in all | {modules} | {total:,} |")
    return "\n".join(lines) + "\n"


def details(house: list[Room]) -> str:
    """Return, in Markdown, the modules of each room with their sizes, and its public names."""
    text = []
    for room in house:
        sizes = ", ".join(f"`{path}` {lines}" for path, lines in room.modules.items())
        names = ", ".join(f"`{name}`" for name in room.public) or "none"
        text.append(f"`{room.name}`\n: Lines: {sizes}.\n: Public names: {names}.\n")
    return "\n".join(text)


def files() -> dict[str, str]:
    """Return the text of each file that is made of the rooms, by its name."""
    house = rooms()
    return {
        "rooms.svg": picture(house),
        "rooms.md": table(house),
        "modules.md": details(house),
    }
