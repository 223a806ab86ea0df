"""Taking placemarks out of the stream of a KML document's elements, within bounds of memory.

Names are taken without regard to namespaces: files write the elements of KML 2.0 to 2.3 and
Google's extensions with any prefix, declared or not. Only a prefix that is declared for
something else than KML stays with its name.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree.ElementTree import Element, TreeBuilder  # trees only: it parses nothing here
from xml.parsers import expat

from geo_etl.errors import SourceError
from geo_etl.ingest.refusals import damaged, text_is_not
from geo_etl.vector.formats.kml_contents import LISTED_FOLDERS, Contents, Placemark

CHUNK_BYTES = 131_072
MAX_DEPTH = 500
MAX_TOKEN_BYTES = 8_000_000
"""Of one tag or comment: expat before 2.6 reads an unfinished one anew with every chunk."""
MAX_ELEMENT_BYTES = 256_000_000
MAX_ELEMENT_PARTS = 2_000_000
"""Of one placemark: it is held in memory as a whole."""
MAX_NAMES = 100_000
"""Different names of elements, and of attributes: expat keeps each for good."""
MAX_FIELDS = 100_000

CONTAINERS = frozenset(["kml", "Document", "Folder"])
NO_FEATURES = frozenset(
    ["GroundOverlay", "PhotoOverlay", "ScreenOverlay", "NetworkLink", "NetworkLinkControl", "Tour"]
)
"""What stands where placemarks do, and is none."""
ROOTS = CONTAINERS | NO_FEATURES | {"Placemark"}


class _Names(dict[str, str]):
    """Name as written → name without its prefix, unless that means something else than KML."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.foreign: set[str] = set()
        self._source = source

    def __missing__(self, written: str) -> str:
        if len(self) >= MAX_NAMES:
            raise damaged(self._source, f"it has more than {MAX_NAMES:,} kinds of elements")
        prefix, _, local = written.rpartition(":")
        self[written] = written if prefix in self.foreign else local
        return self[written]


@dataclass
class _Container:
    """A kml, Document or Folder element that is open.

    Attributes:
        number: of the container in the file, from 1.
        kind: its local name.
        depth: of its element.
        outermost: a Document around all: it stands for the file, and is no folder of it.
        path: names of the folders down to it.
        inside: whether it is, or lies in, the wanted folder.
        named: whether its name is known.
        used: whether a placemark or a container in it was met.
    """

    number: int
    kind: str
    depth: int
    outermost: bool
    path: str | None
    inside: bool
    named: bool = False
    used: bool = False


class Parser:
    """Expat's handlers. Elements that matter are kept as trees, the others passed over."""

    def __init__(
        self, name: str, contents: Contents, wanted: str | None, encoding: str | None
    ) -> None:
        self.began = False
        self._name, self._contents, self._wanted = name, contents, wanted
        self._names = _Names(name)
        self._attributes: set[str] = set()
        self._containers: list[_Container] = []
        self._opened = self._placemarks = self._fields = 0
        self._depth = self._fed = self._kept_from = 0
        self._passed_over = 0
        """Depth of the element that is passed over; 0 for none."""
        self._found: deque[Placemark] = deque()
        self._kept_here = {"Placemark", "Schema"}
        """With the names of elements that schemas derive from Placemark."""
        # No interning by pyexpat: it would keep each name ever met.
        self._parser = expat.ParserCreate(encoding, intern=None)
        self._parser.buffer_text = True
        self._parser.buffer_size = CHUNK_BYTES
        self._parser.StartDoctypeDeclHandler = self._doctype
        self._pass_over()

    def feed(self, octets: bytes) -> None:
        """Parse the next bytes.

        Raises:
            SourceError, ExpatError: see `read_placemarks`.
        """
        self._fed += len(octets)
        self._parser.Parse(octets, False)
        if self._fed - self._parser.CurrentByteIndex > MAX_TOKEN_BYTES:
            raise damaged(
                self._name, f"one of its tags or comments is above {MAX_TOKEN_BYTES:,} bytes"
            )
        if self._kept_from and self._fed - self._kept_from > MAX_ELEMENT_BYTES:
            raise self._too_large(f"{MAX_ELEMENT_BYTES:,} bytes")

    def finish(self) -> None:
        """Say that the document ends here."""
        self._parser.Parse(b"", True)

    def found(self) -> Iterator[Placemark]:
        """The placemarks that were completed since the last call."""
        while self._found:
            yield self._found.popleft()

    def _doctype(self, root: str, *_: object) -> None:
        if root.lower() == "html":
            raise text_is_not(self._name, "KML")
        raise SourceError(
            self._name,
            "it has a document type declaration (DTD), by which a file could pull in others or "
            "swell without end",
            "Remove <!DOCTYPE …>; KML needs none.",
        )

    def _too_large(self, limit: str) -> SourceError:
        return SourceError(
            self._name,
            f"its placemark {self._placemarks + 1} has more than {limit}",
            "Divide it into several placemarks.",
        )

    def _pass_over(self) -> None:
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = None

    def _start(self, written: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._too_deep()
        if attributes:
            self._note(attributes)
        local = self._names[written]
        if not self.began:
            self._check_root(local, attributes)
        if self._passed_over:
            self._contents.misplaced += local == "Placemark"
        elif local in CONTAINERS:
            self._open(local)
        elif local in self._kept_here or (local == "name" and self._containers):
            self._keep(local, attributes)
        else:
            self._passed_over = self._depth
            if local in NO_FEATURES and self._inside():
                self._contents.skipped[local] += 1

    def _end(self, _: str) -> None:
        if self._passed_over == self._depth:
            self._passed_over = 0
        elif self._containers and self._containers[-1].depth == self._depth:
            self._containers.pop()
        self._depth -= 1

    def _too_deep(self) -> SourceError:
        return damaged(self._name, f"its elements are nested deeper than {MAX_DEPTH}")

    def _note(self, attributes: dict[str, str]) -> None:
        """Learn which prefixes are not KML's; refuse what would fill expat's memory."""
        if self._attributes.issuperset(attributes):
            return
        self._attributes.update(attributes)
        if len(self._attributes) > MAX_NAMES:
            raise damaged(self._name, f"it has more than {MAX_NAMES:,} kinds of attributes")
        for key, uri in attributes.items():
            if key.startswith("xmlns:") and "kml" not in uri.lower():
                self._names.foreign.add(key[6:])

    def _check_root(self, local: str, attributes: dict[str, str]) -> None:
        namespace = attributes.get("xmlns", "kml").lower()
        if local not in ROOTS or (local != "kml" and "kml" not in namespace):
            raise text_is_not(self._name, "KML")
        self.began = True

    def _inside(self) -> bool:
        return self._containers[-1].inside if self._containers else self._wanted is None

    def _open(self, kind: str) -> None:
        above = self._containers[-1] if self._containers else None
        self._opened += 1
        container = _Container(
            number=self._opened,
            kind=kind,
            depth=self._depth,
            outermost=kind == "Document" and (above is None or above.kind == "kml"),
            path=above.path if above else None,
            inside=self._inside(),
        )
        if above is not None:
            above.used = True
        self._containers.append(container)
        if self._opened in self._contents.late:
            self._call(container, self._contents.late[self._opened])

    def _name_container(self, name: str) -> None:
        container = self._containers[-1]
        if container.named or container.kind == "kml" or not name:
            return
        if container.used:
            self._contents.late[container.number] = name
            if len(self._contents.late) > MAX_NAMES:
                raise damaged(
                    self._name, f"more than {MAX_NAMES:,} folders have their name at the end"
                )
        self._call(container, name)

    def _call(self, container: _Container, name: str) -> None:
        contents = self._contents
        container.named = True
        if container.outermost:
            contents.title = contents.title or name
            return
        container.path = name if container.path is None else f"{container.path}/{name}"
        if self._wanted in (name, container.path):
            container.inside = True
            contents.matches += 1
        if len(contents.folders) < LISTED_FOLDERS and container.path not in contents.folders:
            contents.folders.append(container.path)

    def _keep(self, kind: str, attributes: dict[str, str]) -> None:
        """Make a tree of the element that begins, then go on as before."""
        builder = TreeBuilder()
        build, close, names = builder.start, builder.end, self._names
        top = depth = self._depth
        parts = 0
        self._kept_from = self._fed

        def start(written: str, attributes: dict[str, str]) -> None:
            nonlocal depth, parts
            depth += 1
            parts += 1
            if depth > MAX_DEPTH:
                raise self._too_deep()
            if parts > MAX_ELEMENT_PARTS:
                raise self._too_large(f"{MAX_ELEMENT_PARTS:,} elements")
            if attributes:
                self._note(attributes)
            build(names[written], attributes)

        def end(written: str) -> None:
            nonlocal depth
            close(written)
            if depth == top:
                self._kept_from = 0
                self._depth -= 1
                self._pass_over()
                self._kept(kind, builder.close())
            depth -= 1

        build(kind, attributes)
        self._parser.CharacterDataHandler = builder.data
        self._parser.StartElementHandler = start
        self._parser.EndElementHandler = end

    def _kept(self, kind: str, element: Element) -> None:
        if kind == "Schema":
            self._declare(element)
        elif kind == "name":
            self._name_container("".join(element.itertext()).strip())
        else:
            self._placemarks += 1
            container = self._containers[-1] if self._containers else None
            if container is not None:
                container.used = True
            if self._inside():
                path = container.path if container else None
                self._found.append(Placemark(self._placemarks, path, element))

    def _declare(self, schema: Element) -> None:
        fields = {
            simple.get("name", ""): simple.get("type", "").rpartition(":")[2].lower()
            for simple in schema.iter("SimpleField")
        }
        self._fields += 1 + len(fields)
        if self._fields > MAX_FIELDS:
            raise damaged(self._name, f"its schemas have more than {MAX_FIELDS:,} fields")
        for key in {schema.get("id"), schema.get("name")} - {None, ""}:
            self._contents.fields.setdefault(str(key), {}).update(fields)
        # Google Earth 3 and 4: <Schema parent="Placemark" name="X">, then <X> for <Placemark>.
        parent = schema.get("parent") or schema.findtext("parent") or ""
        if parent.strip() == "Placemark" and schema.get("name"):
            self._kept_here.add(str(schema.get("name")))
