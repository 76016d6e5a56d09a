"""Records of files whose cells are parted by commas, tabs or semicolons."""

import csv
import re
from collections.abc import Callable, Generator
from pathlib import Path

from anisomem.datasets import bounded
from anisomem.errors import UserError

BLANKS = re.compile(' +"')


def records(
    file: Path,
    delimiter: str,
    blanks: bool = False,
    refuse: Callable[[UserError], None] | None = None,
) -> Generator[tuple[int, list[str]]]:
    """The records of a CSV file with the lines on which they end.

    Arguments:
        refuse: Takes the errors of records that cannot be read, which are left out. A quote that
            stays open to the end is raised all the same: how much it hides is not known.
    """
    csv.field_size_limit(bounded.LINE)
    content = (line + "\n" for line in bounded.lines(file, strict=refuse is None))
    reader = csv.reader(content, delimiter=delimiter, strict=True, skipinitialspace=blanks)
    read = 0
    while True:
        try:
            for cells in reader:
                read = reader.line_num
                yield read, cells
        except csv.Error as error:
            if "end of data" in str(error):
                raise UserError(
                    f"{file}, line {read + 1}: a quote is opened here or in a line below and never"
                    " closed"
                ) from None
            told = UserError(f"{file}, line {reader.line_num}: {error}")
            read = reader.line_num
            if refuse is None:
                raise told from None
            refuse(told)
        else:
            return


def blanks_before_quotes(file: Path, delimiter: str) -> bool:
    """Whether cells are quoted behind a blank, which is then no part of a cell."""
    quoted = False
    for line in bounded.lines(file, strict=False):  # which is said where it is read
        at = 0  # where a cell begins, or goes on where it is quoted
        while at >= 0:
            if not quoted:
                if BLANKS.match(line, at):
                    return True
                quoted = line.startswith('"', at)
                at = at + 1 if quoted else line.find(delimiter, at) + 1 or -1
                continue
            end = line.find('"', at)
            if end >= 0 and not line.startswith('""', end):
                quoted = False
                at = line.find(delimiter, end) + 1 or -1
            else:
                at = end + 2 if end >= 0 else -1
    return False
