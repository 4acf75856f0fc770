"""The SQL of the views for other engines, by sqlglot (the extra `sql`): Spark, for the recordings of a fleet.

What an engine does otherwise than DuckDB is put right here, so that the same rows come out. Spark has no
unsigned types: of what Parquet keeps as uint64 it makes decimal(20, 0), of the others the next larger type.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from fyke.errors import Unsupported, UsageError

if TYPE_CHECKING:
    from sqlglot import exp

DUCKDB, SPARK = "duckdb", "spark"
DIALECTS = (DUCKDB, SPARK)
"""What the SQL is tested with: DuckDB as it is written, and Spark from version 4.0 on."""
_SPARK_HEAD = """\
-- The views of fyke's recordings, for Spark 4.0 and later. docs/views.md says what they mean, and how
-- recordings become the table `recorded` that they are made from.
"""


def as_written() -> str:
    """Return the text of the views: statements in DuckDB's SQL, separated by `;`, over a table `recorded`."""
    from importlib import resources  # the names of the dialects are wanted without

    from fyke.journeys.views_columns import EVENT_SECTIONS

    text = resources.files("fyke.journeys").joinpath("views.sql").read_text(encoding="utf-8")
    names = ",\n    ".join(section.name for section in EVENT_SECTIONS)
    return re.sub(r"^( *)\$sections.*$", rf"\1{names}", text, flags=re.MULTILINE)


def views_script(dialect: str) -> str:
    """Return the statements that make the views as a script: for DuckDB as written, with its comments.

    Raises as `views_sql` does; for DuckDB it needs no sqlglot.
    """
    if dialect == DUCKDB:
        return as_written()
    made = views_sql(dialect, pretty=True)
    return _SPARK_HEAD + "\n\n".join(f"{sql};" for sql in made) + "\n"


def views_sql(dialect: str, *, pretty: bool = False) -> list[str]:
    """Return the statements that make the views (views.sql), in order, over a table `recorded`.

    dialect: one of DIALECTS. In Spark they are temporary, and views that are there by the same names are
    replaced. pretty: in lines, for people. Raises UsageError for another dialect, Unsupported where sqlglot
    is missing.
    """
    return translated(as_written(), dialect, pretty=pretty)


def translated(sql: str, dialect: str, *, pretty: bool = False) -> list[str]:
    """Return the statements of a text in DuckDB's SQL, written for `dialect`, without comments and `;`.

    It is meant for the SQL of this package: hex() is taken to be of a whole number that isn't negative.
    Raises as `views_sql` does, and UsageError for SQL that is wrong or that sqlglot can't say there.
    """
    if dialect not in DIALECTS:
        raise UsageError(f"the views aren't there for {dialect!r}", f"it is one of: {', '.join(DIALECTS)}")
    try:
        import sqlglot
        from sqlglot.errors import ErrorLevel, SqlglotError
    except ImportError as error:
        raise Unsupported(
            f"the Python package sqlglot can't be imported: {error}", "install it: pip install 'fyke[sql]'"
        ) from error
    try:
        trees = [tree for tree in sqlglot.parse(sql, read=DUCKDB) if tree is not None]
        if dialect == SPARK:
            for tree in trees:
                _to_spark(tree)
        style: dict[str, Any] = {"comments": False, "pretty": pretty, "unsupported_level": ErrorLevel.RAISE}
        return [tree.sql(dialect, **style) for tree in trees]
    except SqlglotError as error:
        reason = str(error).partition("\n")[0]
        raise UsageError(f"the SQL can't be written for {dialect}: {reason}") from error


def _to_spark(tree: exp.Expr) -> None:
    """Change, in place, what sqlglot leaves as it is although Spark does it otherwise."""
    from sqlglot import exp

    for view in list(tree.find_all(exp.Create)):  # one that is kept can't be made over a temporary one
        view.set("replace", True)
        view.set("properties", exp.Properties(expressions=[exp.TemporaryProperty()]))
    for digits in list(tree.find_all(exp.Hex)):
        digits.replace(_hex(digits))
    for group in list(tree.find_all(exp.WithinGroup)):
        if isinstance(group.this, exp.PercentileCont):
            group.replace(_percentile(group.this.this, group.expression))
    for chosen in list(tree.find_all(exp.ArgMin, exp.ArgMax)):
        _skip_null(chosen)


def _hex(digits: exp.Hex) -> exp.Expr:
    """Return hex() for a decimal: Spark's takes signed 64 bits, and pointers of the kernel are larger."""
    from sqlglot import exp

    text = exp.cast(digits.this.copy(), exp.DataType.Type.TEXT)
    number = exp.Anonymous(this="conv", expressions=[text, exp.Literal.number(10), exp.Literal.number(16)])
    return exp.Lower(this=number) if isinstance(digits, exp.LowerHex) else number


def _percentile(part: exp.Expr, order: exp.Expr) -> exp.Expr:
    """Return the function that interpolates as percentile_cont does; sqlglot would take an approximation."""
    from sqlglot import exp
    from sqlglot.errors import UnsupportedError

    (ordered,) = order.expressions
    if ordered.args.get("desc"):
        raise UnsupportedError("percentile_cont is known in ascending order only")
    return exp.Anonymous(this="percentile", expressions=[ordered.this.copy(), part.copy()])


def _skip_null(chosen: exp.Expr) -> None:
    """Leave out rows without a value: DuckDB's min_by passes over them, Spark's gives null."""
    from sqlglot import exp

    present = chosen.this.copy().is_(exp.null()).not_()
    if isinstance(chosen.parent, exp.Filter):
        where = chosen.parent.expression
        where.set("this", exp.and_(where.this.copy(), present))
    else:
        chosen.replace(exp.Filter(this=chosen.copy(), expression=exp.Where(this=present)))
