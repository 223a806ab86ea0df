"""The errors that a person can act on.

Every error names the thing, says what is wrong with it, and gives the way out. A
`GeoEtlError` is permanent: trying the same thing again gives the same error. Transient
faults (a lost connection, a throttled request) are never wrapped in one: they keep their own
type, so that the retry policy of an op sees them.
"""


class GeoEtlError(Exception):
    """Root of all errors that geo_etl raises on purpose.

    Args:
        thing: what the error is about: a blob, a table, a setting.
        problem: what is wrong with it, as a clause that can follow the thing's name.
        remedy: what the reader can do about it.
    """

    def __init__(self, thing: str, problem: str, remedy: str) -> None:
        super().__init__(f"{thing}: {problem}. {remedy}")
        self.thing = thing
        self.problem = problem
        self.remedy = remedy

    def __reduce__(self) -> tuple[type["GeoEtlError"], tuple[str, str, str]]:
        return type(self), (self.thing, self.problem, self.remedy)


class SourceError(GeoEtlError):
    """A source can't be read as what it claims to be."""


class SpecError(GeoEtlError):
    """A spec asks for something that does not exist or is not allowed."""


class GeometryError(GeoEtlError):
    """The geometries of a source can't become one table."""


class RasterError(GeoEtlError):
    """The pixels or the georeference of a source can't become what its spec asks for."""


class ProofError(RasterError):
    """A file that was written is not what it should be: it never becomes visible."""


class PublishError(GeoEtlError):
    """A load can't take the place of what readers see."""


class ConservationError(PublishError):
    """Features were lost or doubled on the way: the sums do not agree."""


class CatalogueError(GeoEtlError):
    """The STAC catalogue did not take, or give back, what was written."""


class StorageError(GeoEtlError):
    """A blob or container is missing, or its name is not usable."""


class StackError(GeoEtlError):
    """A part of the stack (PostgreSQL, a server) is missing or not running."""


class TransientError(Exception):
    """Something that may go well if it is tried again. Not a `GeoEtlError`: those are final."""
