from pathlib import Path

import pyarrow as pa

from fyke.events.docs import columns_page
from fyke.events.schema import arrow_schema

PAGE = Path(__file__).parents[3] / "docs" / "columns.md"


def test_the_page_is_fresh() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == columns_page(), "the schema changed: run python -m fyke.events.docs docs/columns.md"


def test_the_page_describes_every_column_of_the_table() -> None:
    rows = {}
    for line in columns_page().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if len(cells) == 4 and cells[0].startswith("`"):
            rows[cells[0].strip("`")] = cells
    names = []
    for field in arrow_schema():
        if pa.types.is_struct(field.type):
            names += [f"{field.name}.{field.type.field(i).name}" for i in range(field.type.num_fields)]
        else:
            names.append(field.name)
    assert list(rows) == names
    assert all(cells[1] and cells[3] for cells in rows.values())
