'use strict';
(() => {
  const byId = (id) => document.getElementById(id);
  const settings = JSON.parse(byId('data').textContent);
  const STORED = 'lungdet-jobs';
  const POLL_MS = 1000;
  const FIRST = { html: 'report', json: 'result', nifti: 'masks' };
  const jobs = new Map();  // id -> its list entry

  const say = (text) => { byId('said').textContent = text; };
  const seconds = (value) => (value < 90 ? `${Math.ceil(value)} s` : `${Math.round(value / 60)} min`);

  // the ids survive a reload of this tab; file names are not stored
  const remember = () => {
    try { sessionStorage.setItem(STORED, JSON.stringify([...jobs.keys()])); } catch { /* storage is disabled */ }
  };
  const remembered = () => {
    try { return JSON.parse(sessionStorage.getItem(STORED) || '[]').map(String); } catch { return []; }
  };

  const ask = async (method, address, headers = {}) => {
    const answer = await fetch(address, { method, headers, credentials: 'same-origin' });
    if (answer.status === 401) lock(true);
    return answer;
  };
  const reason = async (answer) => {
    try { return (await answer.json()).detail; } catch { return `the server responded with status ${answer.status}`; }
  };

  // the token is exchanged for a cookie that this script cannot read
  function lock(locked) {
    if (locked && byId('unlock').hidden) byId('token').focus();
    byId('unlock').hidden = !locked;
    byId('send').hidden = locked;
    if (locked) byId('token').focus();
  }
  byId('unlock').addEventListener('submit', async (event) => {
    event.preventDefault();
    const answer = await fetch('v1/session', { method: 'POST', headers: { Authorization: `Bearer ${byId('token').value.trim()}` } });
    byId('token').value = '';
    lock(!answer.ok);
    if (!answer.ok) { say(await reason(answer)); return; }
    say('');
    jobs.forEach((entry, id) => watch(id));
    byId('file').focus();
  });

  // one entry of the list
  const make = (name) => {
    const entry = byId('job').content.cloneNode(true).firstElementChild;
    entry.querySelector('.name').textContent = name;
    byId('list').prepend(entry);
    byId('none').hidden = true;
    return entry;
  };
  const bar = (entry, part) => {
    const one = entry.querySelector('progress');
    one.hidden = part === null;
    if (part === undefined) one.removeAttribute('value'); else if (part !== null) one.value = part;
  };
  const state = (entry, text) => { entry.querySelector('.state').textContent = text; };
  const fail = (entry, text) => {
    const one = entry.querySelector('.error');
    one.textContent = text;
    one.hidden = false;
    bar(entry, null);
    state(entry, 'failed');
    say(`${entry.querySelector('.name').textContent} failed: ${text}`);
  };
  const drop = (id, entry) => {
    entry.remove();
    if (id) { jobs.delete(id); remember(); }
    byId('none').hidden = byId('list').children.length > 0;
  };
  const link = (address, text) => {
    const made = document.createElement('a');
    made.href = address;
    made.textContent = text;
    made.target = '_blank';
    made.rel = 'noopener';
    return made;
  };

  const describe = (job) => {
    const left = job.seconds_left === null ? '' : `, about ${seconds(job.seconds_left)} left`;
    if (job.state === 'queued') return job.ahead ? `waiting, ${job.ahead} ahead${left}` : `waiting${left}`;
    if (job.state === 'running') {
      if (job.windows_done === null) return 'reading the scan';
      return `window ${job.windows_done} of ${job.windows_total}${left}`;
    }
    const count = job.detections;
    return count === 1 ? '1 detection' : `${count} detections`;
  };
  const show = (entry, job) => {
    state(entry, describe(job));
    if (job.state === 'running') bar(entry, job.windows_total ? job.windows_done / job.windows_total : undefined);
    else bar(entry, job.state === 'queued' ? undefined : null);
    if (job.state === 'failed') fail(entry, job.error);
    if (job.state !== 'done') return;
    const names = Object.keys(job.results);
    entry.querySelector('.results').replaceChildren(
      ...Object.keys(FIRST).filter((name) => names.includes(name)).map((name) => link(job.results[name], FIRST[name])));
    const others = names.filter((name) => !(name in FIRST)).map((name) => {
      const item = document.createElement('li');
      item.append(link(job.results[name], name));
      return item;
    });
    entry.querySelector('.others').replaceChildren(...others);
    entry.querySelector('details').hidden = !others.length;
    say(`${entry.querySelector('.name').textContent}: ${describe(job)}`);
  };

  async function watch(id) {
    const entry = jobs.get(id);
    if (!entry) return;
    let again = true;
    try {
      const answer = await ask('GET', `v1/jobs/${encodeURIComponent(id)}`);
      if (answer.status === 401) return;
      if (answer.ok) {
        const job = await answer.json();
        show(entry, job);
        again = job.state === 'queued' || job.state === 'running';
      } else if (answer.status === 404) {
        state(entry, 'deleted');
        bar(entry, null);
        again = false;
      }
    } catch { state(entry, 'the server does not respond'); }
    if (again && jobs.has(id)) setTimeout(() => watch(id), POLL_MS);
  }

  const adopt = (id, entry) => {
    jobs.set(id, entry);
    remember();
    watch(id);
  };
  const remove = (entry, stop) => {
    entry.querySelector('.delete').addEventListener('click', async () => {
      const id = [...jobs.keys()].find((one) => jobs.get(one) === entry);
      if (id) {
        const answer = await ask('DELETE', `v1/jobs/${encodeURIComponent(id)}`);
        if (!answer.ok && answer.status !== 404) { say(await reason(answer)); return; }
      } else { stop(); }
      drop(id, entry);
      byId('file').focus();
    });
  };

  const refusal = (file) => {
    const name = file.name.toLowerCase();
    if (!settings.suffixes.some((suffix) => name.endsWith(suffix))) {
      return `not one of ${settings.suffixes.join(', ')}; zip DICOM slices, or .mhd and .raw`;
    }
    return file.size > settings.limit ? `larger than ${settings.limitText}` : null;
  };
  const send = (file) => {
    const entry = make(file.name);
    const request = new XMLHttpRequest();  // fetch does not report the progress of an upload
    remove(entry, () => request.abort());
    const text = refusal(file);
    if (text) { fail(entry, text); return; }
    const form = new FormData();
    // the server needs only the suffix of the name
    const suffix = settings.suffixes.filter((one) => file.name.toLowerCase().endsWith(one)).sort((a, b) => b.length - a.length)[0];
    form.append(settings.field, file, `scan${suffix}`);
    request.open('POST', 'v1/jobs');
    request.responseType = 'json';
    request.upload.addEventListener('progress', (event) => {
      bar(entry, event.loaded / event.total);
      state(entry, `sending, ${Math.floor((100 * event.loaded) / event.total)} %`);
    });
    request.addEventListener('load', () => {
      if (request.status === 202) { adopt(request.response.id, entry); return; }
      if (request.status === 401) lock(true);
      fail(entry, (request.response && request.response.detail) || `the server responded with status ${request.status}`);
    });
    request.addEventListener('error', () => fail(entry, 'the upload failed; the file may be too large, or the server may have stopped'));
    state(entry, 'sending');
    request.send(form);
  };

  byId('file').addEventListener('change', () => {
    [...byId('file').files].forEach(send);
    byId('file').value = '';
  });
  const over = (on) => byId('drop').classList.toggle('over', on);
  ['dragenter', 'dragover'].forEach((kind) => document.addEventListener(kind, (event) => { event.preventDefault(); over(true); }));
  document.addEventListener('dragleave', (event) => { if (!event.relatedTarget) over(false); });
  document.addEventListener('drop', (event) => {
    event.preventDefault();
    over(false);
    if (!byId('send').hidden) [...event.dataTransfer.files].forEach(send);
  });

  remembered().forEach((id) => {
    const entry = make(`scan ${id.slice(0, 8)}`);
    remove(entry, () => {});
    adopt(id, entry);
  });
  fetch('v1/session', { credentials: 'same-origin' }).then((answer) => answer.json())
    .then((session) => lock(!session.unlocked)).catch(() => {});
})();
