"""Everything that the program reads, one line each.

To add one: a maker of an intact file, a reader that returns a fingerprint and
caveats, and whether the format reveals any damage (``checked``).
"""

from __future__ import annotations

from tests.fuzz import images, tables
from tests.fuzz.target import Target

TARGETS = (
    # scans
    Target('nifti-gz', images.nifti_gz, images.scan, checked=True),
    Target(
        'nifti-header',
        images.nifti,
        images.scan,
        part=images.nifti_head,
        agrees=images.as_nibabel,
        cases=600,
    ),
    Target(
        'nifti2-header',
        images.nifti2,
        images.scan,
        part=lambda content: (0, 544),
        agrees=images.as_nibabel,
    ),
    Target('mhd', images.mhd, images.scan, text=True, agrees=images.as_stated),
    Target('zraw', images.zraw, images.scan_of_zraw, checked=True),
    Target(
        'nrrd-header',
        images.nrrd,
        images.scan,
        text=True,
        part=images.nrrd_head,
        agrees=images.as_stated,
        cases=400,
    ),
    Target(
        'nrrd-gz',
        images.nrrd_gz,
        images.scan,
        part=images.nrrd_voxels,
        checked=True,
    ),
    Target(
        'dicom', images.dicom, images.series, part=images.dicom_head, cases=300
    ),
    Target('lidc-xml', images.xml, images.outlines, text=True, cases=300),
    # tables
    Target(
        'annotations',
        tables.text_file('a.csv', tables.NODULES),
        tables.table('read_annotations'),
        text=True,
    ),
    Target(
        'excluded',
        tables.text_file('a.csv', tables.NODULES),
        tables.table('read_excluded'),
        text=True,
    ),
    Target(
        'submission',
        tables.text_file('a.csv', tables.MARKS),
        tables.table('read_marks'),
        text=True,
    ),
    Target(
        'submission-gz',
        tables.packed_file('a.csv.gz', tables.MARKS),
        tables.table('read_marks'),
        checked=True,
    ),
    Target(
        'series-list',
        tables.text_file('a.csv', '1.2\n1.3\n1.4\n'),
        tables.table('read_seriesuids'),
        text=True,
    ),
    Target(
        'boxes',
        tables.text_file('a.csv', tables.BOXES),
        tables.boxes,
        text=True,
    ),
    # cases and runs
    Target('index-json', tables.index, tables.read_index, text=True),
    Target('case-json', tables.case_json, tables.read_case_json, text=True),
    Target('case-array', tables.array, tables.read_array, checked=True),
    Target(
        'nodule-library', tables.library, tables.read_nodules, checked=True
    ),
    Target(
        'scan-result', tables.scan_result, tables.read_scan_result, text=True
    ),
    Target(
        'result-json', tables.result_json, tables.read_result_json, text=True
    ),
    Target('run-manifest', tables.manifest, tables.read_manifest, text=True),
    Target(
        'hard-negatives', tables.negatives, tables.read_negatives, text=True
    ),
    Target('training-log', tables.curve, tables.read_curve, text=True),
    # weights and configs
    Target('checkpoint', tables.checkpoint, tables.read_weights),
    Target('last-checkpoint', tables.pointer, tables.read_pointer, text=True),
    Target('backbone', tables.backbone, tables.read_exported),
    Target('config', tables.config, tables.read_config, text=True, cases=100),
)
