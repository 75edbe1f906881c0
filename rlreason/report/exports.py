"""The report's tables and figures as files of their own: CSV, Parquet, LaTeX and Markdown; SVG, PDF and PNG.

Tables for programs (CSV, Parquet) hold unrounded numbers: a column of figures, and where there are intervals the
columns "... low" and "... high" beside it. Tables for people (LaTeX, Markdown) hold what the page holds. Figures are
drawn by `report.static_figures`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from rlreason.errors import UserError, one_of
from rlreason.records import write_text
from rlreason.records.run_folder import replacing
from rlreason.report.browser import visible
from rlreason.report.render import Report, file_name, markdown_table
from rlreason.report.tables import NOTHING, Table

FIGURES = ("svg", "pdf", "png")


def export(report: Report, figures: Sequence[str] = (), tables: Sequence[str] = ()) -> list[Path]:
    """Write every table and figure of a report in these formats, into report/tables and report/figures.

    Args:
        figures: of `FIGURES`.
        tables: of `TABLES`.
    Returns:
        The files, as written.
    Raises:
        UserError: a format is not one of these; said before anything is written.
    """
    for what, given, allowed in (("figures", figures, FIGURES), ("tables", tables, tuple(TABLES))):
        for name in given:
            if name not in allowed:
                raise UserError(one_of("format", name, allowed, f"--{what}"))
    folder = report.folder.report
    written = []
    for form in tables:
        suffix, write = TABLES[form]
        for name, table in report.named_tables().items():
            path = folder / "tables" / f"{name}.{suffix}"
            write(table, path)
            written.append(path)
    if figures:
        from rlreason.report.static_figures import draw  # matplotlib takes a second to import

        for chart in report.charts:
            paths = [folder / "figures" / f"{file_name(chart.name)}.{form}" for form in figures]
            draw(chart, paths)
            written += paths
    return written


def find_table(report: Report, name: str) -> Table:
    """One table of a report by its name.

    Raises:
        UserError: there is none of this name.
    """
    named = report.named_tables()
    if name not in named:
        raise UserError(one_of("table", name, named, "--table"))
    return named[name]


def as_frame(table: Table) -> pd.DataFrame:
    """A table for programs.

    Returns:
        A column a heading. Where every cell of it that says something has a number, the numbers (NaN where it says
        nothing), and "... low", "... high" where some have an interval. Otherwise the text; "... detail" holds what
        stands after it.
    """
    columns: dict[str, list[float | None] | list[str]] = {}
    for at, heading in enumerate(table.headings):
        cells = [row[at] for row in table.rows]
        name = _unused(heading or "name", columns)
        said = [cell for cell in cells if cell != NOTHING]
        if said and all(cell.value is not None for cell in said):
            columns[name] = [cell.value for cell in cells]
            if any(cell.low is not None for cell in cells):
                columns[f"{name} low"] = [cell.low for cell in cells]
                columns[f"{name} high"] = [cell.high for cell in cells]
        else:
            columns[name] = [cell.text for cell in cells]
            if any(cell.detail for cell in cells):
                columns[f"{name} detail"] = [cell.detail for cell in cells]
    numbers = {name: "float64" for name, values in columns.items() if not any(isinstance(v, str) for v in values)}
    return pd.DataFrame(columns).astype(numbers if len(table.rows) else "str")


def _unused(name: str, taken: Mapping[str, object]) -> str:
    number = 2
    unused = name
    while unused in taken:
        unused, number = f"{name} {number}", number + 1
    return unused


def latex_table(table: Table, label: str) -> str:
    """A table for LaTeX with booktabs, to be input as it stands; the document needs \\usepackage{booktabs}.

    Args:
        label: of the table, for \\ref; "tab:" is put before it.
    """
    lines = [" & ".join(map(latex_text, table.headings)) + r" \\", r"\midrule"]
    for row in table.rows:
        cells = []
        for cell in row:
            text = rf"\textbf{{{latex_text(cell.text)}}}" if cell.strong else latex_text(cell.text)
            cells.append(text + (rf" {{\footnotesize {latex_text(cell.detail)}}}" if cell.detail else ""))
        lines.append(" & ".join(cells) + r" \\")
    body = "\n".join(lines)
    columns = "l" + "r" * (len(table.headings) - 1)
    caption = f"\\caption{{{latex_text(table.title)}}}\n" if table.title else ""
    return (
        f"\\begin{{table}}\n\\centering\n{caption}\\label{{tab:{label}}}\n"
        f"\\begin{{tabular}}{{{columns}}}\n\\toprule\n{body}\n\\bottomrule\n\\end{{tabular}}\n\\end{{table}}\n"
    )


_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "\N{MINUS SIGN}": "$-$",
    "→": r"$\rightarrow$",
    "·": r"$\cdot$",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
}


def latex_text(text: str) -> str:
    """Text as LaTeX shows it: one line, no character read as a command."""
    line = " ".join(visible(text).split())
    return re.sub("|".join(map(re.escape, _LATEX)), lambda found: _LATEX[found[0]], line)


def _write_csv(table: Table, path: Path) -> None:
    write_text(path, as_frame(table).to_csv(index=False, lineterminator="\n"))


def _write_parquet(table: Table, path: Path) -> None:
    with replacing(path) as temporary:
        as_frame(table).to_parquet(temporary, index=False)


def _write_latex(table: Table, path: Path) -> None:
    write_text(path, latex_table(table, path.stem))


def _write_markdown(table: Table, path: Path) -> None:
    write_text(path, markdown_table(table))


TABLES: dict[str, tuple[str, Callable[[Table, Path], None]]] = {
    "csv": ("csv", _write_csv),
    "parquet": ("parquet", _write_parquet),
    "latex": ("tex", _write_latex),
    "markdown": ("md", _write_markdown),
}
"""Format -> (ending of its files, its writer)."""
