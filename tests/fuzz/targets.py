"""Everything that the program reads, one line each.

To add one: a maker of an intact file, a reader that returns a fingerprint and
caveats, the container that the file is, and the oracle that says what a change
without a caveat may be. Not listed: exported ONNX graphs, which are only
compared with the digest in ``detector.json``, and the tables in the package.
"""

from __future__ import annotations

import os

from tests.fuzz import images, servers, stored, tables, weights
from tests.fuzz.oracles import (
    CHECKED,
    UNKNOWN,
    as_csv,
    as_lines,
    as_minidom,
    as_nibabel,
    as_pydicom,
    as_python,
    as_stated,
    as_written,
    forged,
)
from tests.fuzz.tables import CENTER, CORNERS, packed_file, reading, text_file
from tests.fuzz.target import Target

IMAGES = (
    Target('nifti-gz', images.nifti_gz, images.scan, 'bytes', CHECKED),
    Target(
        *('nifti-header', images.nifti, images.scan, 'bytes', as_nibabel),
        part=images.nifti_head,
        cases=400,
    ),
    Target(
        *('nifti2-header', images.nifti2, images.scan, 'bytes', as_nibabel),
        part=lambda content: (0, 544),
    ),
    Target('mhd', images.mhd, images.scan, 'text', as_stated),
    Target('mha', images.mha, images.scan, 'text', as_stated),
    Target('zraw', images.zraw, images.scan_of_zraw, 'bytes', CHECKED),
    Target(
        *('nrrd-header', images.nrrd, images.scan, 'text', as_stated),
        part=images.nrrd_head,
        cases=300,
    ),
    Target(
        *('nrrd-gz', images.nrrd_gz, images.scan, 'bytes', CHECKED),
        part=images.nrrd_voxels,
    ),
    Target(
        *('dicom', images.dicom, images.series, 'bytes', as_pydicom),
        part=images.dicom_head,
        cases=250,
    ),
    Target(
        *('dicom-frames', images.frames, images.series, 'bytes', as_pydicom),
        part=images.dicom_head,
        cases=200,
    ),
    Target('zip', images.zipped, images.unpacked, 'zip', forged),
    Target(
        *('nodule-mask', images.nodule_mask, images.read_nodule_mask, 'bytes'),
        images.nodules_as_nibabel,
        part=images.after_nifti_head,
    ),
    Target(
        *('lung-mask', images.lung_mask, images.read_lung_mask, 'bytes'),
        images.lungs_as_nibabel,
        part=images.after_nifti_head,
    ),
    Target('lidc-xml', images.xml, images.outlines, 'text', as_minidom),
)
TABLES = (
    Target(
        *('annotations', text_file('a.csv', tables.NODULES)),
        *(reading(tables.annotations), 'text'),
        as_csv(tables.annotations, [*CENTER, 'diameter_mm']),
        cases=200,
    ),
    Target(
        *('excluded', text_file('a.csv', tables.NODULES)),
        *(reading(tables.excluded_centers), 'text'),
        as_csv(tables.excluded_centers, CENTER),
    ),
    Target(
        *('submission', text_file('a.csv', tables.MARKS)),
        *(reading(tables.marks), 'text'),
        as_csv(tables.marks, [*CENTER, 'probability']),
        cases=200,
    ),
    Target(
        *('submission-gz', packed_file('a.csv.gz', tables.MARKS)),
        *(reading(tables.marks), 'gzip'),
        as_csv(tables.marks, [*CENTER, 'probability']),
    ),
    Target(
        *('candidates', text_file('a.csv', tables.CANDIDATES)),
        *(reading(tables.candidates), 'text'),
        as_csv(tables.candidates, CENTER),
    ),
    Target(
        *('boxes', text_file('a.csv', tables.BOXES)),
        *(reading(tables.boxes), 'text', as_csv(tables.boxes, CORNERS)),
    ),
    Target(
        *('scan-table', text_file('a.csv', tables.GROUPS)),
        *(reading(tables.groups), 'text', as_csv(tables.groups, ['vendor'])),
    ),
    Target(
        *('series-list', text_file('a.csv', '1.2\n1.3\n1.4\n')),
        *(reading(tables.series_list), 'text', as_lines(tables.series_list)),
    ),
    Target(
        *('scan-manifest', text_file('a.csv', tables.SCANS)),
        *(reading(tables.manifest), 'text'),
        as_lines(tables.manifest_cells, os.path.normpath),
    ),
    Target(
        *('nodule-library', tables.library, reading(tables.read_nodules)),
        *('zip', CHECKED),
    ),
    Target(
        *('nodule-crops', tables.crops, reading(tables.read_crops)),
        *('zip', forged),
        cases=200,
    ),
)
STORED = (
    Target(
        *('index-json', stored.index, reading(stored.index_values), 'json'),
        as_written(stored.index_values),
        cases=200,
    ),
    Target(
        *('case-json', stored.case_json, reading(stored.case_values), 'json'),
        as_written(stored.case_values),
        cases=200,
    ),
    Target('case-array', stored.array, stored.read_array, 'bytes', CHECKED),
    Target(
        *('scan-result', stored.scan_result, reading(stored.scan_values)),
        *('json', as_written(stored.scan_values)),
        cases=200,
    ),
    Target(
        *('result-json', stored.result_json, reading(stored.result_values)),
        *('json', as_written(stored.result_values)),
        cases=200,
    ),
    Target(
        *('froc-json', stored.froc_json, reading(stored.froc_values), 'json'),
        as_written(stored.froc_values),
    ),
    Target(
        'detections-json',
        *(stored.detections_json, reading(stored.detections_values), 'json'),
        as_written(stored.detections_values),
        cases=200,
    ),
    Target(
        *('inference-record', stored.inference_record, stored.read_inference),
        *('json', as_written(stored.inference_values)),
    ),
    Target(
        *('scan-list', stored.scan_list, reading(stored.scan_list_values)),
        *('json', as_written(stored.scan_list_values)),
    ),
    Target(
        *('run-manifest', stored.run_manifest, stored.read_run_manifest),
        *('json', as_written(stored.run_values)),
    ),
    Target(
        *('hard-negatives', stored.negatives),
        *(reading(stored.negatives_values), 'json'),
        as_written(stored.negatives_values),
    ),
    Target(
        *('phantom-note', stored.phantom_note, stored.read_phantom_note),
        *('json', as_written(stored.phantom_values)),
    ),
    Target(
        *('training-log', stored.curve, reading(stored.curve_points), 'text'),
        stored.curve_as_json,
    ),
)
WEIGHTS = (
    Target(
        *('checkpoint', weights.checkpoint, weights.read_weights, 'zip'),
        forged,
        cases=150,
    ),
    Target(
        *('last-checkpoint', weights.pointer, weights.read_weights, 'text'),
        CHECKED,
    ),
    Target(
        *('backbone', weights.backbone, weights.read_exported, 'bytes'),
        CHECKED,
        cases=200,
    ),
    Target(
        'release', weights.release, weights.read_detector, 'bytes', CHECKED
    ),
    Target(
        *('release-card', weights.release_card, weights.read_detector, 'json'),
        as_written(weights.card_values),
        cases=200,
    ),
    Target(
        *('ensemble', weights.ensemble, weights.read_ensemble, 'zip', forged),
        cases=60,
    ),
    Target(
        *('onnx-card', weights.export_card, reading(weights.export_values)),
        *('json', as_written(weights.export_values)),
    ),
    Target(
        *('commands', weights.commands, reading(weights.read_commands)),
        *('text', weights.as_lines_of_text),
        cases=40,
    ),
    Target(
        *('config', weights.config, reading(weights.config_values), 'text'),
        as_python(weights.config_values),
        cases=80,
        by_key=True,
    ),
)
SERVERS = (
    Target(
        *('qido-series', servers.series_list, servers.listed('series')),
        *('json', UNKNOWN),
        needs=('httpx',),
        wire=True,
    ),
    Target(
        *('qido-instances', servers.instance_list),
        *(servers.listed('instances'), 'json', UNKNOWN),
        needs=('httpx',),
        wire=True,
    ),
    Target(
        *('wado-multipart', servers.slices, reading(servers.fetched), 'bytes'),
        servers.as_split,
        needs=('httpx',),
        wire=True,
    ),
    Target(
        *('stow-answer', servers.store_answer, servers.stored, 'json'),
        UNKNOWN,
        needs=('httpx',),
        wire=True,
    ),
    Target(
        *('upload-form', servers.form, reading(servers.uploaded), 'bytes'),
        servers.form_as_split,
        needs=('fastapi', 'python_multipart'),
        wire=True,
    ),
    Target('jobs', servers.jobs, servers.read_jobs, 'bytes', UNKNOWN),
    Target(
        *('token', servers.token, reading(servers.read_token), 'text'),
        servers.as_token,
        cases=40,
    ),
)
# each is run by a process of its own
GROUPS = {
    'images': IMAGES,
    'tables': TABLES,
    'stored': STORED,
    'weights': WEIGHTS,
    'servers': SERVERS,
}
TARGETS = tuple(target for group in GROUPS.values() for target in group)
