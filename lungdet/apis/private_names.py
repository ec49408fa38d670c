"""Names of folders and files, kept out of messages.

Folders, slices and archives are often named after patients.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from lungdet.errors import printable

# names that scanners and archives give to slices: such words, numbers, UIDs
PLAIN_WORDS = {
    *('i', 'im', 'ima', 'img', 'image', 'sl', 'slice', 'frame'),
    *('se', 'ser', 'series', 'ct', 'dcm', 'dic', 'dicom'),
}
MAX_DIGITS = 5  # of a slice's number; longer ones may be a patient's
UID = re.compile(r'\d+(\.\d+){4,}')
WORD = re.compile(r'[^\W\d_]+|\d+')
Name = TypeVar('Name', Path, str)
PLAIN_SUFFIXES = ('.dcm', '.ima', '.img')


def digest(path: str | Path) -> str:
    """Eight hexadecimal digits that stand for a relative path.

    Examples:
        >>> digest('case1/ct.nii.gz')
        '27e714e9'
    """
    return hashlib.sha256(os.fsencode(Path(path).as_posix())).hexdigest()[:8]


def slice_name(name: str) -> str:
    """What a message calls a slice's file: its name if it can name nobody.

    Examples:
        >>> slice_name('IM-0001-0074.dcm'), slice_name('1.3.6.1.4.1.9.dcm')
        ('IM-0001-0074.dcm', '1.3.6.1.4.1.9.dcm')
        >>> slice_name('DOE_JANE_074.dcm')
        'file-c50656e7.dcm'
    """
    words = WORD.findall(UID.sub('', name).lower())
    if all(
        len(word.lstrip('0')) <= MAX_DIGITS
        if word.isdecimal()
        else word in PLAIN_WORDS
        for word in words
    ):
        return name
    suffix = Path(name).suffix.lower()
    return f'file-{digest(name)}{suffix if suffix in PLAIN_SUFFIXES else ""}'


class PrivateNames:
    """Takes the names of folders and files out of messages.

    Args:
        name: Stands for each of ``paths``, and for folders in them.
        paths: Files, folders and archives of a scan. Files in the folders are
            called as ``slice_name`` does.
        lung_mask: File of the scan's lungs, None without one.
    """

    def __init__(
        self, name: str, *paths: Path, lung_mask: Path | None = None
    ) -> None:
        self.name = name
        self.paths = paths
        self.lung_mask = lung_mask

    def hidden(self, text: str) -> str:
        """The message without the names."""
        folders, files = self._below
        for path in folders:
            text = _replaced(text, str(path), self.name)
        if self.lung_mask is not None:
            for known in (str(self.lung_mask), self.lung_mask.name):
                text = _replaced(text, known, 'the lung mask')
        for parent in _longest_first({path.parent for path in self.paths}):
            if parent != parent.parent and str(parent) != '.':
                text = _replaced(text, f'{parent}{os.sep}', '')
        for name in files:
            text = _replaced(text, name, slice_name(name))
        # of 'FOLDER (series UID)'
        return text.replace(f'{self.name} (series {self.name})', self.name)

    @cached_property
    def _below(self) -> tuple[Sequence[Path], Sequence[str]]:
        """The paths and folders in them, and names of files; each before those
        that it begins with."""
        folders, names = {*self.paths}, set[str]()
        for path in self.paths:
            for parent, _, files in os.walk(path):
                folders.add(Path(parent))
                names.update(n for n in files if slice_name(n) != n)
        return _longest_first(folders), _longest_first(names)


def _longest_first(names: Iterable[Name]) -> list[Name]:
    return sorted(names, key=lambda name: (-len(str(name)), str(name)))


def _replaced(text: str, word: str, by: str) -> str:
    """Text without a word, as it is or as messages print it."""
    for form in {word, printable(' '.join(word.split()))}:
        if form in text:
            start = r'(?<!\w)' if form[0].isalnum() else ''
            end = r'(?!\w)' if form[-1].isalnum() else ''
            pattern = f'{start}{re.escape(form)}{end}'
            text = re.sub(pattern, lambda _: by, text)
    return text
