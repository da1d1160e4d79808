// The sheet "Save": the view as a picture, arrays, the set as a zip, and a link to all of it.

/** Give the browser a file to save. */
function download(name, blob) {
  const link = el('a');
  link.href = URL.createObjectURL(blob);
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

/** An array as numpy.load reads it; `type` is "<f4" or "|u1". */
function npyOf(values, rows, columns, type) {
  const header = `{'descr': '${type}', 'fortran_order': False, 'shape': (${rows}, ${columns}), }`;
  const length = Math.ceil((10 + header.length + 1) / 64) * 64 - 10; // data begins at a multiple of 64
  const head = new TextEncoder().encode(`\u0000NUMPY\u0001\u0000\u0000\u0000${header.padEnd(length - 1)}\n`);
  head[0] = 0x93;
  head[8] = length & 255;
  head[9] = length >> 8;
  return new Blob([head, values.slice()], { type: 'application/octet-stream' });
}

const stemOf = name => name.replace(/\.npy$/i, '');

function makeSaveSheet(app) {
  const { state, channels } = app;
  const node = el('div', 'gs-save');
  const button = (word, act) => {
    const made = el('button', '', say(`save.${word}`));
    made.type = 'button';
    made.addEventListener('click', act);
    return made;
  };
  const part = (word, ...children) => {
    const text = el('p', '', say(`save.${word}`));
    node.append(el('h3', '', say(`save.${word}_title`)), text, ...children);
    return text;
  };
  const settings = () => [
    state.shift ? say('save.shift', { n: state.shift }) : '',
    state.noise ? say('save.noise', { n: state.noise.toFixed(4), seed: state.seed }) : '',
    say('save.threshold', { n: state.threshold === null ? say('dock.as_trained') : state.threshold.toFixed(2) }),
  ].filter(Boolean);

  const savePicture = () => drawPicture(app, settings()).toBlob(
    blob => download(`${stemOf(app.scene.name)}.png`, blob), 'image/png');
  part('picture', button('png', savePicture));

  const arrays = el('div', 'gs-arrays');
  let current = null;
  part('arrays', arrays);
  let filled = '';
  function fillArrays(scene) {
    const key = JSON.stringify([scene.name, scene.models.map(m => [m.name, m.judgedAt, Boolean(m.error)])]);
    current = scene;
    if (key === filled) return; // a button that is made anew would lose the focus
    filled = key;
    const stem = stemOf(scene.name);
    const file = (name, values, type) => () => download(name, npyOf(values(), current.rows, current.columns, type));
    const probabilityOf = model => current.models.find(m => m.name === model.name).probability;
    const row = (title, ...buttons) => {
      const line = el('div', 'gs-array');
      line.append(el('span', '', title), ...buttons);
      return line;
    };
    const rows = [row(say('panel.patch'), button('patch', file(`${stem}.npy`, () => current.patch, '<f4')))];
    for (const model of scene.models.filter(m => !m.error)) {
      const limit = Math.fround(model.judgedAt);
      rows.push(row(model.name,
        button('mask', file(`${stem}.${model.name}.mask.npy`, () => Uint8Array.from(probabilityOf(model), p => Number(p > limit)), '|u1')),
        button('probability', file(`${stem}.${model.name}.probability.npy`, () => probabilityOf(model), '<f4'))));
    }
    arrays.replaceChildren(...rows);
  }

  const progress = el('progress');
  const stop = button('cancel', () => { channels.stop('export'); waiting(false); });
  const masks = button('masks', () => zip(false)), both = button('both', () => zip(true));
  const said = el('p', 'gs-said');
  said.setAttribute('role', 'status');
  const work = el('div', 'gs-run');
  work.append(progress, stop);
  const choices = el('div', 'gs-choices');
  choices.append(masks, both);
  const setText = part('set', choices, work, said);
  progress.setAttribute('aria-label', say('save.progress'));

  function waiting(on) {
    work.hidden = !on;
    masks.disabled = both.disabled = on;
    progress.removeAttribute('value');
  }

  function zip(probabilities) {
    const { shift, noise, seed, threshold, models } = state;
    said.textContent = '';
    waiting(true);
    channels.call('export', { ...setOf(state), shift, noise, seed, threshold, models, probabilities }, answer => {
      if (answer.error) {
        said.textContent = say(`save.${answer.error}`, { reason: answer.reason });
        waiting(false);
      } else if (answer.zip) {
        download('geoseg.zip', new Blob([bytesOf(answer.zip)], { type: 'application/zip' }));
        said.textContent = say('save.done', { patches: many(answer.patches, 'patch') });
        waiting(false);
      } else if (answer.waiting) {
        said.textContent = say('set.waiting');
      } else {
        said.textContent = '';
        progress.max = answer.total;
        progress.value = answer.done;
      }
    });
  }

  const address = el('input', 'gs-link');
  address.readOnly = true;
  address.setAttribute('aria-label', say('save.link_title'));
  address.addEventListener('focus', () => address.select());
  const copied = el('span', 'gs-said');
  copied.setAttribute('role', 'status');
  async function copy() {
    address.select();
    // Without a secure address browsers give no clipboard; the text stays selected for Ctrl-C.
    const done = await navigator.clipboard?.writeText(address.value).then(() => true, () => false);
    copied.textContent = say(done ? 'save.copied' : 'save.select');
  }
  const linkText = part('link', address, button('copy', copy), copied);
  waiting(false);

  return {
    name: 'save', title: say('save.title'), tip: say('save.tip'), key: 'w', node,
    seen(scene) {
      fillArrays(scene);
      setText.textContent = say('save.set', { patches: many(scene.count, 'patch'), settings: settings().join(', ') });
      address.value = new URL(app.link(), location.href).href;
      linkText.textContent = say(state.source === 'uploads' ? 'save.link_own' : 'save.link');
      tell(copied, '');
    },
  };
}
