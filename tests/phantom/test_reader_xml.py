from __future__ import annotations

from pathlib import Path

from lungdet.io.lidc import read_lidc_xml
from lungdet.io.lidc_masks import consensus_masks
from lungdet.phantom import Phantom
from lungdet.phantom.reader_xml import reader_xml


def test_reader_xml_gives_the_masks_back(
    phantoms: list[Phantom], tmp_path: Path
) -> None:
    for phantom in phantoms:
        path = tmp_path / 'x.xml'
        path.write_text(reader_xml(phantom))

        reading = read_lidc_xml(path)
        labels, nodules = consensus_masks(reading, phantom.volume.geometry)

        assert reading.num_readers == 4
        assert len(nodules) == len(phantom.annotations)
        for number in range(1, len(nodules) + 1):
            truth = phantom.masks == number
            read = labels == labels[truth].max()
            dice = 2 * (truth & read).sum() / (truth.sum() + read.sum())
            assert dice > 0.85
