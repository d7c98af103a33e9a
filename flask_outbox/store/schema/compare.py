"""Compare the real tables with the expected ones, and say how to correct them.

Names do not matter, because a host may have a naming convention: indexes are compared by columns, uniqueness and condition,
foreign keys by columns, target and ON DELETE. Tables, columns and indexes that the host has added are its own business, unless
they prevent an insert.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.schema import CreateIndex, CreateTable, sort_tables

from ..models import Base
from .ddl import Writer, type_problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy.engine import Engine, Inspector

BY_COPYING = "SQLite can change that only by copying the table: use a migration of Alembic's in batch mode"


@dataclass(frozen=True, slots=True)
class Difference:
    """One missing or wrong part, what to do, and the SQL that does it; no SQL if plain SQL cannot do it."""

    what: str
    remedy: str
    statements: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.what}: {self.remedy}"


def compare(engine: Engine, tables: sa.MetaData | Iterable[sa.Table]) -> list[Difference]:
    """Return how the database differs from *tables*, in the order in which to correct it; an empty list if it does not."""
    expected = tables.tables.values() if isinstance(tables, sa.MetaData) else tables
    with engine.connect() as connection:
        return list(_compare(connection, sort_tables(expected)))


def expected_tables(metadata: sa.MetaData | None) -> Iterable[sa.Table]:
    """Return the outbox tables as the host's *metadata* describes them, with its schema and naming convention; or else our own."""
    own = Base.metadata.sorted_tables
    if metadata is None:
        return own
    names = {table.name for table in own}
    return [table for table in metadata.sorted_tables if table.name in names] or own


def statements(differences: Iterable[Difference]) -> list[str]:
    """Return the SQL that removes *differences*; a comment stands for each that plain SQL cannot remove."""
    return [text for one in differences for text in (one.statements or (f"-- {one}",))]


def _compare(connection: sa.Connection, tables: list[sa.Table]) -> Iterator[Difference]:
    inspector: Inspector = sa.inspect(connection)
    for schema in dict.fromkeys(table.schema for table in tables if table.schema):
        if not inspector.has_schema(schema):
            name = connection.dialect.identifier_preparer.quote_schema(schema)
            what = f"schema {schema} is missing"
            if connection.dialect.name == "sqlite":
                yield Difference(what, "ATTACH its database file whenever the engine connects")
            else:
                yield Difference(what, "create it", (f"CREATE SCHEMA {name}",))
    for table in tables:
        if inspector.has_table(table.name, schema=table.schema):
            yield from _TableComparison(connection, inspector, table).differences()
        else:
            parts: list[sa.schema.ExecutableDDLElement] = [CreateTable(table)]
            parts += [CreateIndex(index) for index in _sorted(table.indexes)]
            create = tuple(str(part.compile(dialect=connection.dialect)).strip() for part in parts)
            yield Difference(f"table {table.fullname} is missing", "create it", create)


@dataclass(frozen=True, slots=True)
class _Index:
    """What the database says of an index or a unique constraint."""

    name: str | None
    columns: tuple[str | None, ...]
    unique: bool
    where: str = ""
    is_constraint: bool = False


class _TableComparison:
    """One table that exists, beside the expected one."""

    def __init__(self, connection: sa.Connection, inspector: Inspector, table: sa.Table) -> None:
        self._table, self._inspector, self._dialect = table, inspector, connection.dialect
        self._can_alter = connection.dialect.name != "sqlite"
        self._write = Writer(table, connection.dialect)
        self._columns: dict[str, Any] = {one["name"]: one for one in inspector.get_columns(table.name, schema=table.schema)}
        self._is_empty = connection.scalar(sa.select(sa.literal(1)).select_from(table).limit(1)) is None

    def differences(self) -> Iterator[Difference]:
        """Yield the differences, columns first, because the rest depends on them."""
        for column in self._table.columns:
            if column.name in self._columns:
                yield from self._column(column, self._columns[column.name])
            else:
                yield self._missing_column(column)
        yield from self._columns_of_the_host()
        yield from self._primary_key()
        yield from self._indexes()
        yield from self._foreign_keys()

    def _difference(self, what: str, remedy: str, *sql: str, even_on_sqlite: bool = False) -> Difference:
        """Return a difference whose *sql* is an ALTER that SQLite does not know, unless told otherwise."""
        if not sql or self._can_alter or even_on_sqlite:
            return Difference(what, remedy, sql)
        return Difference(what, f"{remedy}; {BY_COPYING}")

    # Columns

    def _missing_column(self, column: sa.Column[Any]) -> Difference:
        what = f"column {self._table.name}.{column.name} is missing"
        sql = self._write.add_column(column, is_empty=self._is_empty)
        if sql:
            return Difference(what, "add it", (sql,))
        return Difference(what, "add it with a migration that gives every existing row a value, because NULL is not allowed")

    def _column(self, column: sa.Column[Any], real: dict[str, Any]) -> Iterator[Difference]:
        name = f"column {self._table.name}.{column.name}"
        problem, is_wider = type_problem(column.type, real["type"], self._dialect)
        if problem:
            remedy = "change its type" if is_wider else "change its type with a migration that converts the values"
            yield self._difference(f"{name} {problem}", remedy, *([self._write.set_type(column)] if is_wider else []))
        if column.nullable and not real["nullable"]:
            yield self._difference(f"{name} is NOT NULL, expected nullable", "drop NOT NULL", self._write.set_null(column))
        elif real["nullable"] and not column.nullable and not column.primary_key:
            yield self._difference(f"{name} is nullable, expected NOT NULL", "set NOT NULL", self._write.set_null(column))

    def _columns_of_the_host(self) -> Iterator[Difference]:
        for name, real in self._columns.items():
            is_filled = real["nullable"] or real["default"] is not None or real.get("identity") or real.get("computed")
            if name not in self._table.columns and not is_filled:
                what = f"column {self._table.name}.{name} is not the outbox's, and NOT NULL without a default, so inserts fail"
                yield Difference(what, "give it a default or make it nullable")

    def _primary_key(self) -> Iterator[Difference]:
        expected = [column.name for column in self._table.primary_key.columns]
        real = self._inspector.get_pk_constraint(self._table.name, schema=self._table.schema)["constrained_columns"]
        if sorted(real) != sorted(expected):
            what = f"primary key of {self._table.name} is ({', '.join(real)}), expected ({', '.join(expected)})"
            yield self._difference(what, "replace it", *([] if real else [self._write.add_primary_key()]))
        column = self._table.autoincrement_column
        if column is not None and column.name in self._columns and not self._is_numbered(self._columns[column.name]):
            what = f"column {self._table.name}.{column.name} does not number new rows"
            yield self._difference(what, "make it an identity column", *self._write.number_rows(column))

    def _is_numbered(self, real: dict[str, Any]) -> bool:
        if self._dialect.name == "sqlite":
            # Only a column declared as exactly INTEGER PRIMARY KEY is an alias of the rowid.
            return bool(real["type"].compile(dialect=self._dialect) == "INTEGER")
        return bool(real.get("identity")) or "nextval(" in (real["default"] or "")

    # Indexes

    def _indexes(self) -> Iterator[Difference]:
        real = list(self._real_indexes())
        for index in _sorted(self._table.indexes):
            columns = tuple(column.name for column in index.columns)
            unique, where = bool(index.unique), index.dialect_options[self._dialect.name]["where"]
            if any((one.columns, one.unique, one.where) == (columns, unique, _normal(where)) for one in real):
                continue
            kind = "unique index" if unique else "index"
            condition = "" if where is None else f" where {where}"
            what = f"{kind} on {self._table.name} ({', '.join(columns)}){condition} is missing"
            create = str(CreateIndex(index).compile(dialect=self._dialect))
            in_the_way = [one for one in real if self._is_in_the_way(one, index, columns)]
            if not in_the_way:
                yield Difference(what, "create it", (create,))
                continue
            remedy = f"replace {', '.join(str(one.name) for one in in_the_way)}, which is another"
            drops = [self._write.drop_index(one.name, is_constraint=one.is_constraint) for one in in_the_way]
            simple = not any(one.is_constraint for one in in_the_way)
            yield self._difference(what, remedy, *drops, create, even_on_sqlite=simple)

    def _is_in_the_way(self, one: _Index, index: sa.Index, columns: tuple[str, ...]) -> bool:
        """Return whether *one* must be dropped before *index* is created: it has its name, or rejects rows that *index* allows."""
        takes_name = one.name == index.name and not (one.is_constraint and self._dialect.name == "sqlite")
        return takes_name or (one.columns == columns and one.unique and not index.unique)

    def _real_indexes(self) -> Iterator[_Index]:
        where = f"{self._dialect.name}_where"
        for one in self._inspector.get_indexes(self._table.name, schema=self._table.schema):
            if not one.get("duplicates_constraint"):
                condition = _normal(one.get("dialect_options", {}).get(where))
                yield _Index(one["name"], tuple(one["column_names"]), bool(one["unique"]), condition)
        for constraint in self._inspector.get_unique_constraints(self._table.name, schema=self._table.schema):
            yield _Index(constraint["name"], tuple(constraint["column_names"]), unique=True, is_constraint=True)

    # Foreign keys

    def _foreign_keys(self) -> Iterator[Difference]:
        real = self._inspector.get_foreign_keys(self._table.name, schema=self._table.schema)
        for constraint in sorted(self._table.foreign_key_constraints, key=lambda one: list(one.column_keys)):
            columns, target = list(constraint.column_keys), constraint.referred_table.name
            same = [one for one in real if (one["constrained_columns"], one["referred_table"]) == (columns, target)]
            on_delete = constraint.ondelete or "NO ACTION"
            if any((one["options"].get("ondelete") or "NO ACTION").upper() == on_delete for one in same):
                continue
            what = f"foreign key from {self._table.name} ({', '.join(columns)}) to {target} is missing"
            if same:
                what = f"foreign key from {self._table.name} ({', '.join(columns)}) to {target} is not ON DELETE {on_delete}"
            drops = [self._write.drop_constraint(one["name"]) for one in same]
            yield self._difference(what, "replace it" if same else "add it", *drops, self._write.add_foreign_key(constraint))


def _sorted(indexes: Iterable[sa.Index]) -> list[sa.Index]:
    return sorted(indexes, key=lambda index: str(index.name))


def _normal(condition: object) -> str:
    """Return an index's condition without what PostgreSQL adds to it: casts, parentheses, spaces."""
    text = re.sub(r"::(character varying|\w+)", "", "" if condition is None else str(condition))
    return re.sub(r'[\s()"]', "", text).lower()
