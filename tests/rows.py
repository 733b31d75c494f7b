"""Rows of CSV files, as the tests of scripts write and read them."""

import csv
from pathlib import Path


def write_rows(path, header, *rows):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with Path(path).open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def read_rows(path):
    """A dict for each row, all of strings."""
    with Path(path).open(newline="") as file:
        return list(csv.DictReader(file))
