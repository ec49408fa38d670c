'use strict';
(() => {
  const byId = (id) => document.getElementById(id);
  const data = JSON.parse(byId('data').textContent);
  const SVG = 'http://www.w3.org/2000/svg';
  const FRAME_MS = 80;
  const rows = [...document.querySelectorAll('#detections tbody tr')];
  const cards = [...document.querySelectorAll('.card[data-score]')];
  let least = 0;

  // the table: sort by a column, hide what is below a score
  const value = (row, column) => {
    const cell = row.cells[column];
    const text = cell.dataset.value ?? cell.textContent;
    const number = parseFloat(text);
    return Number.isNaN(number) ? text : number;
  };
  const UNKNOWN = '–';  // last in either order
  const compare = (a, b, sign) => {
    if (a === UNKNOWN || b === UNKNOWN) return (a === UNKNOWN) - (b === UNKNOWN);
    return sign * (typeof a === 'number' && typeof b === 'number' ? a - b : String(a).localeCompare(String(b)));
  };
  document.querySelectorAll('#detections th').forEach((head, column) => {
    head.firstElementChild.addEventListener('click', () => {
      const order = head.getAttribute('aria-sort') === 'ascending' ? 'descending' : 'ascending';
      document.querySelectorAll('#detections th').forEach((th) => th.removeAttribute('aria-sort'));
      head.setAttribute('aria-sort', order);
      const sign = order === 'ascending' ? 1 : -1;
      rows.sort((a, b) => compare(value(a, column), value(b, column), sign));
      rows.forEach((row) => row.parentElement.append(row));
    });
  });
  const filter = byId('filter');
  const applyFilter = () => {
    least = Number(filter.value);
    [...rows, ...cards].forEach((one) => { one.hidden = Number(one.dataset.score) < least; });
    const left = rows.filter((row) => !row.hidden).length;
    byId('shown').textContent = `${least.toFixed(2)}: ${left} of ${rows.length}`;
    if (data.images.length) draw();
  };
  if (filter) filter.addEventListener('input', applyFilter);

  // the cine: one slice at a time, with the boxes that reach into it
  const slider = byId('slider');
  const figure = document.querySelector('#cine .picture');
  const element = (name, attributes) => {
    const made = document.createElementNS(SVG, name);
    Object.entries(attributes).forEach(([key, of]) => made.setAttribute(key, of));
    return made;
  };
  const visible = (box) => box.score === null || box.score >= least;
  function draw() {
    const k = Number(slider.value);
    byId('slice').src = `data:image/jpeg;base64,${data.images[k]}`;
    byId('caption').textContent = data.captions[k];
    slider.setAttribute('aria-valuetext', data.captions[k]);
    const size = Number(byId('cine').dataset.side) / 24;
    const marks = [];
    data.boxes.filter((box) => box.first <= k && k <= box.last && visible(box)).forEach((box) => {
      const kind = `box ${box.kind}`;
      if (box.kind === 'nodule' || box.kind === 'missed') {
        marks.push(element('ellipse', { class: kind, cx: box.x + box.width / 2, cy: box.y + box.height / 2,
          rx: box.width / 2 + 2, ry: box.height / 2 + 2 }));
      } else {
        marks.push(element('rect', { class: kind, x: box.x, y: box.y, width: box.width, height: box.height }));
      }
      const below = box.kind === 'nodule' || box.kind === 'missed';
      const label = element('text', { class: 'label', 'data-label': box.label,
        transform: `translate(${box.x + box.width + 2} ${box.y + (below ? box.height + size : 0)}) scale(${size})` });
      label.textContent = box.label;
      marks.push(label);
    });
    byId('boxes').replaceChildren(...marks);
  }
  const show = (k) => {
    slider.value = String(Math.min(Math.max(k, 0), data.images.length - 1));
    draw();
  };
  const step = (by) => show(Number(slider.value) + by);
  let chosen = -1;
  const choose = (row, scroll) => {
    const button = row && row.querySelector('button.go');
    if (!button) return;
    rows.forEach((one) => one.classList.toggle('chosen', one === row));
    chosen = rows.indexOf(row);
    show(Number(button.dataset.picture));
    document.dispatchEvent(new CustomEvent('detection', { detail: Number(row.dataset.number) }));
    if (scroll) byId('cine').scrollIntoView({ block: 'center' });
  };
  const neighbour = (by) => {
    const left = rows.filter((row) => !row.hidden);
    if (!left.length) return;
    const from = left.indexOf(rows[chosen]);
    const to = from < 0 ? (by > 0 ? 0 : left.length - 1) : (from + by + left.length) % left.length;
    choose(left[to], false);
  };
  let timer = null;
  const play = () => {
    if (timer === null) {
      timer = setInterval(() => show((Number(slider.value) + 1) % data.images.length), FRAME_MS);
    } else { clearInterval(timer); timer = null; }
    byId('play').textContent = timer === null ? 'play' : 'pause';
    byId('play').setAttribute('aria-pressed', String(timer !== null));
  };
  const KEYS = { ArrowRight: () => step(1), ArrowDown: () => step(1), ArrowLeft: () => step(-1),
    ArrowUp: () => step(-1), PageDown: () => step(10), PageUp: () => step(-10), Home: () => show(0),
    End: () => show(data.images.length - 1), n: () => neighbour(1), p: () => neighbour(-1), ' ': play };
  const TYPED = new Set(['n', 'p']);  // these work wherever the focus is
  if (slider) {
    slider.addEventListener('input', draw);
    byId('play').addEventListener('click', play);
    byId('next').addEventListener('click', () => neighbour(1));
    byId('previous').addEventListener('click', () => neighbour(-1));
    document.querySelectorAll('button.go').forEach((button) => button.addEventListener('click', () => {
      const row = button.closest('tr');
      if (row.dataset.number) { choose(row, true); return; }
      show(Number(button.dataset.picture));
      byId('cine').scrollIntoView({ block: 'center' });
    }));
    document.addEventListener('keydown', (event) => {
      const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
      const here = event.target === figure || event.target === slider;
      if (!(key in KEYS) || event.ctrlKey || event.metaKey || event.altKey) return;
      if (!here && !TYPED.has(key)) return;
      event.preventDefault();
      KEYS[key]();
    });
    draw();
  }
})();
