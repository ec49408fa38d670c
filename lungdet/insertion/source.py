"""Sources of inserted nodules: a library of real ones, or a generator."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import numpy as np

from lungdet.errors import ConfigError
from lungdet.insertion.donor import Donor, donor_of_nodule
from lungdet.insertion.donor_parts import SITE_CHANCES, parametric_donor
from lungdet.insertion.placement import Placement
from lungdet.io.nodule_library import LibraryNodule, read_library
from lungdet.phantom.nodules import draw_diameter
from lungdet.seeds import draw_seed

LIBRARY, PARAMETRIC = 'library', 'parametric'


class LibrarySource:
    """Real nodules, all drawn with the same probability.

    Args:
        nodules: Nodules of a library; ``Placement.index`` refers to this list.
        name: Name of the library, for messages.
        digest: CRC-32 of its file.
    """

    kind = 'inserted'  # kind of the cases with these nodules

    def __init__(
        self,
        nodules: Sequence[LibraryNodule],
        name: str | Path = 'library',
        digest: int | None = None,
    ) -> None:
        self.nodules, self.name = list(nodules), str(name)
        self.digest = digest
        self._donors: dict[int, Donor] = {}
        self._allowed: dict[frozenset[str], np.ndarray] = {}

    def draw(
        self, rng: np.random.Generator, held_out: Collection[str]
    ) -> Placement:
        """Draw a nodule of a scan and patient that are not held out.

        Args:
            rng: Random generator.
            held_out: Series uids and patients.

        Raises:
            ConfigError: All nodules are held out.
        """
        allowed = self.allowed(held_out)
        if not allowed.size:
            raise ConfigError(
                f'{self.name}: all nodules belong to patients of the test or '
                'validation data; use a library with other patients.'
            )
        index = int(allowed[rng.integers(allowed.size)])
        site = self.nodules[index].site
        return Placement('nodule', LIBRARY, site, (0, 0, 0), index=index)

    def allowed(self, held_out: Collection[str]) -> np.ndarray:
        """Indices of the nodules whose patient is not held out."""
        key = frozenset(held_out)
        if key not in self._allowed:
            barred = self.patients_of(key)
            self._allowed[key] = np.array(
                [
                    index
                    for index, nodule in enumerate(self.nodules)
                    if nodule.patient not in barred
                ],
                dtype=int,
            )
        return self._allowed[key]

    def patients_of(self, names: Collection[str]) -> set[str]:
        """The library's patients that ``names`` (series uids or patients)
        refer to.

        A scan may have no patient id, or another one for the same patient, so
        patients are also identified by their series.
        """
        return {
            n.patient
            for n in self.nodules
            if n.patient in names or n.series_uid in names
        }

    def donor(self, placement: Placement) -> Donor:
        """The nodule of a placement."""
        index = placement.index
        if index not in self._donors:
            self._donors[index] = donor_of_nodule(self.nodules[index])
        return self._donors[index]

    def names_of(self, placements: Iterable[Placement]) -> set[str]:
        """Series uids and patients of the nodules that placements use."""
        return _names(self._entries(placements))

    def drawable(self, held_out: Collection[str]) -> set[str]:
        """Series uids and patients of all nodules that may be drawn."""
        return _names(self.nodules[n] for n in self.allowed(held_out))

    def check(
        self, placements: Iterable[Placement], held_out: Collection[str]
    ) -> None:
        """Check that no placement uses a nodule of a held-out patient.

        Raises:
            ConfigError: A placement uses one.
        """
        allowed = self.allowed(held_out)
        for one in placements:
            if one.source == LIBRARY and one.index not in allowed:
                nodule = self.nodules[one.index]
                raise ConfigError(
                    f'nodule {nodule.name}: its patient {nodule.patient} is '
                    'in the test or validation data, so training on it would '
                    'make results too optimistic. Draw the insertions again.'
                )

    def part(self, number: int, parts: int) -> LibrarySource:
        """Split the library by patient, and return one part.

        Args:
            number: Number of the part, from 1.
            parts: Number of parts.

        Raises:
            ConfigError: The part has no nodules.
        """
        kept = [
            nodule
            for nodule in self.nodules
            if zlib.crc32(nodule.patient.encode()) % parts == number - 1
        ]
        if not kept:
            raise ConfigError(
                f'{self.name}: part {number} of {parts} has no nodules; use '
                'fewer parts.'
            )
        return LibrarySource(kept, self.name, self.digest)

    def _entries(self, placements: Iterable[Placement]) -> list[LibraryNodule]:
        return [
            self.nodules[one.index]
            for one in placements
            if one.source == LIBRARY
        ]


def _names(nodules: Iterable[LibraryNodule]) -> set[str]:
    return {name for n in nodules for name in (n.patient, n.series_uid)}


class ParametricSource:
    """Parametric nodules with the diameters of LUNA16; they belong to no scan
    or patient."""

    kind, digest = PARAMETRIC, None

    def draw(
        self, rng: np.random.Generator, held_out: Collection[str]
    ) -> Placement:
        """Draw a nodule; arguments as in ``LibrarySource.draw``."""
        site = str(
            rng.choice(list(SITE_CHANCES), p=list(SITE_CHANCES.values()))
        )
        return Placement(
            'nodule',
            PARAMETRIC,
            site,
            (0, 0, 0),
            seed=draw_seed(rng),
            size_mm=float(draw_diameter(rng, 1)[0]),
        )

    def donor(self, placement: Placement) -> Donor:
        """The nodule of a placement."""
        return parametric_donor(
            placement.seed, placement.size_mm, placement.site
        )

    def names_of(self, placements: Iterable[Placement]) -> set[str]:
        """Always empty."""
        return set()

    def drawable(self, held_out: Collection[str]) -> set[str]:
        """Always empty."""
        return set()

    def check(
        self, placements: Iterable[Placement], held_out: Collection[str]
    ) -> None:
        """Does nothing: parametric nodules belong to no patient."""

    def part(self, number: int, parts: int) -> ParametricSource:
        """Not supported.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError(
            f'part {number} of {parts}: parametric nodules have no patients '
            'to split by; leave out the part, or use a library.'
        )


NoduleSource = LibrarySource | ParametricSource


def open_source(name: str | Path) -> NoduleSource:
    """Open a source of nodules.

    Args:
        name: ``'parametric'``, or the path of a nodule library.

    Raises:
        FileNotFoundError, SeriesError: As in ``read_library``.
    """
    if str(name) == PARAMETRIC:
        return ParametricSource()
    digest = zlib.crc32(Path(name).read_bytes())
    return LibrarySource(read_library(name), name, digest)
