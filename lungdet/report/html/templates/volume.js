'use strict';
(async () => {
  const canvas = document.getElementById('canvas');
  const data = JSON.parse(document.getElementById('volumes').textContent);
  const bytes = (text) => Uint8Array.from(atob(text), (char) => char.charCodeAt(0)).buffer;
  if (document.createElement('canvas').getContext('webgl2') === null) {
    canvas.parentElement.hidden = true;
    document.getElementById('webgl').hidden = false;
    return;
  }
  const viewer = new niivue.Niivue({ backColor: [0, 0, 0, 1], crosshairColor: [1, 0.83, 0, 0.7], crosshairWidth: 0.5,
    dragAndDropEnabled: false, isRadiologicalConvention: true, logLevel: 'error', multiplanarShowRender: 1, sagittalNoseLeft: true, show3Dcrosshair: true });
  await viewer.attachToCanvas(canvas);
  await viewer.loadFromArrayBuffer(bytes(data.image), 'scan.nii.gz');
  [viewer.volumes[0].cal_min, viewer.volumes[0].cal_max] = data.window;
  await viewer.loadFromArrayBuffer(bytes(data.labels), 'detections.nii.gz');
  viewer.setColormap(viewer.volumes[1].id, 'red');
  [viewer.volumes[1].cal_min, viewer.volumes[1].cal_max] = [0.5, 1];
  viewer.setOpacity(1, 0.5);
  viewer.updateGLVolume();
  viewer.setSliceType(viewer.sliceTypeMultiplanar);
  const go = (number) => {
    const point = data.points[number - 1];
    if (!point) return;
    viewer.scene.crosshairPos = viewer.mm2frac(point);
    viewer.updateGLVolume();
    viewer.drawScene();
  };
  document.addEventListener('detection', (event) => go(event.detail));
  if (data.points.length) go(1);
  document.documentElement.dataset.volume = 'ready';
})();
