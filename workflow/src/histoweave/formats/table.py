"""Parquet tables: every kind of table has a name, a version and columns that are checked both ways."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from histoweave.errors import InputError, shorten
from histoweave.formats.files import replacing

_ARROW = {
    "str": pa.string(),
    "int": pa.int64(),
    "float": pa.float64(),
    "float32": pa.float32(),
    "bool": pa.bool_(),
}


@dataclass(frozen=True)
class TableKind:
    """One kind of Parquet table.

    name, version : stand in the file's metadata as ``format`` and ``format_version``
    columns : column -> ``str | int | float | float32 | bool``; further columns are allowed
    measured : columns that differ between equal runs, such as seconds; the file's fingerprint leaves them out, so
        that what is made from it has equal bytes
    """

    name: str
    version: int
    columns: Mapping[str, str]
    measured: tuple[str, ...] = ()

    def empty(self) -> pd.DataFrame:
        """Return a table of this kind without rows."""
        return pa.schema([(c, _ARROW[t]) for c, t in self.columns.items()]).empty_table().to_pandas()

    def write(self, frame: pd.DataFrame, path: str | Path, *, provenance: Mapping, **more: object) -> None:
        """Write `frame` (index ignored) to `path`; `more` goes into the metadata as JSON.

        Raises InputError if a column of this kind is missing.
        """
        self._require(frame.columns, where="the table to be written")
        typed = [(name, _ARROW[kind]) for name, kind in self.columns.items()]
        rest = [name for name in frame.columns if name not in self.columns]
        arrays = [pa.Array.from_pandas(frame[name], type=kind) for name, kind in typed]
        arrays += [pa.Array.from_pandas(frame[name]) for name in rest]
        table = pa.table(arrays, names=[*self.columns, *rest])
        meta = {"format": self.name, "format_version": str(self.version)}
        extra = {"provenance": dict(provenance), **more}
        meta |= {key: json.dumps(value, sort_keys=True) for key, value in extra.items()}
        if self.measured:
            meta["content"] = json.dumps(_digest(table.drop_columns(list(self.measured)), meta))
        with replacing(path) as temporary:
            pq.write_table(table.replace_schema_metadata(meta), temporary, compression="zstd", write_page_checksum=True)

    def read(self, path: str | Path, columns: list[str] | None = None) -> pd.DataFrame:
        """Read the table at `path`; raises InputError if it is of another kind, version or damaged."""
        try:
            table = pq.read_table(path, columns=columns, page_checksum_verification=True)
        except (OSError, pa.ArrowException) as error:
            msg = f"{path} is not a readable Parquet file ({str(error).splitlines()[0]}). Remove it and run again."
            raise InputError(msg) from error
        self._check_format(table.schema.metadata or {}, path)
        if columns is None:
            self._require(table.column_names, where=str(path))
        return table.to_pandas()

    def metadata(self, path: str | Path) -> dict:
        """Return what was written as `provenance` and `more`."""
        found = pq.read_schema(path).metadata or {}
        self._check_format(found, path)
        keep = {k.decode(): v for k, v in found.items() if k not in (b"format", b"format_version", b"pandas")}
        return {key: json.loads(value) for key, value in keep.items() if key != "ARROW:schema"}

    def is_kind_of(self, path: str | Path) -> bool:
        """Whether the Parquet file at `path` says that it is a table of this kind; False for other files."""
        try:
            return (pq.read_schema(path).metadata or {}).get(b"format", b"").decode() == self.name
        except (OSError, pa.ArrowException):
            return False

    def _check_format(self, found: Mapping, path: str | Path) -> None:
        name, version = (found.get(key, b"none").decode() for key in (b"format", b"format_version"))
        if (name, version) != (self.name, str(self.version)):
            msg = (
                f"{path}: expected a table of format '{self.name}' version {self.version}, "
                f"found '{name}' version {version}. Remove it and run again."
            )
            raise InputError(msg)

    def _require(self, present: object, *, where: str) -> None:
        missing = [name for name in self.columns if name not in set(present)]
        if missing:
            msg = f"{where}: {len(missing)} column(s) missing: {shorten(missing)}."
            raise InputError(msg)


def _digest(table: pa.Table, meta: Mapping) -> str:
    """Short name of a table's content."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    digest = hashlib.sha256(json.dumps(dict(meta), sort_keys=True).encode())
    digest.update(sink.getvalue())
    return digest.hexdigest()[:24]
