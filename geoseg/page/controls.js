// Sliders, buttons, keys and files. They change `state` and say whether the server must be asked.

const SERVER = ['shift', 'noise', 'seed'];

function initialState(facts) {
  return {
    source: 'start', index: 0, shift: 0, noise: 0, seed: 0,
    models: [...facts.shown], focus: facts.shown[0],
    display: 'errors', truth: true, adapt: false, threshold: null, opacity: 35,
    palette: 'classic',
  };
}

/** Round and round: page down on the last model comes to the first. */
function stepModel(state, step) {
  const n = state.models.length;
  if (!n) return;
  const at = state.models.indexOf(state.focus);
  state.focus = state.models[(at + step + n) % n];
}

function bindSliders(root, state, changed) {
  for (const input of root.querySelectorAll('.gs-sliders input')) {
    input.addEventListener('input', () => {
      const value = Number(input.value);
      if (!Number.isFinite(value) || input.value === '') return;
      const low = Number(input.min), high = Number(input.max);
      state[input.name] = Math.min(Math.max(input.type === 'number' ? Math.round(value) : value, low), high);
      changed(SERVER.includes(input.name));
    });
    // A slider keeps the focus after a drag and would swallow the arrow keys. After a Tab it may.
    if (input.type === 'range') input.addEventListener('pointerup', () => input.blur());
    else input.addEventListener('change', () => { input.value = state[input.name]; });
  }
}

function bindModels(root, facts, state, changed) {
  const field = root.querySelector('.gs-models');
  for (const { name } of facts.models) {
    const label = el('label');
    const box = el('input');
    box.type = 'checkbox';
    box.value = name;
    box.addEventListener('change', () => {
      const shown = new Set(state.models);
      if (box.checked) shown.add(name); else shown.delete(name);
      state.models = facts.models.map(m => m.name).filter(n => shown.has(n));
      if (!shown.has(state.focus)) state.focus = state.models[0] || name;
      changed(true);
    });
    label.append(box, el('span', '', name));
    field.append(label);
  }
}

/** Write the state into every control. */
function showState(root, facts, state, truth) {
  for (const input of root.querySelectorAll('.gs-sliders input')) {
    const value = input.name === 'threshold' ? ownThreshold(facts, state) : state[input.name];
    if (document.activeElement !== input || input.type === 'range') input.value = value;
  }
  const texts = {
    shift: `${state.shift} of ${facts.maxShift + 1}`,
    noise: state.noise.toFixed(4),
    threshold: state.threshold === null ? 'as trained' : state.threshold.toFixed(2),
    opacity: state.opacity ? `${state.opacity} %` : 'off',
  };
  for (const output of root.querySelectorAll('output')) output.textContent = texts[output.dataset.for];
  for (const box of root.querySelectorAll('.gs-models input')) box.checked = state.models.includes(box.value);
  for (const button of root.querySelectorAll('[data-display]')) {
    button.setAttribute('aria-pressed', String(button.dataset.display === displayOf(state, truth)));
  }
  for (const button of root.querySelectorAll('[data-toggle]')) {
    button.setAttribute('aria-pressed', String(state[button.dataset.toggle]));
  }
  for (const needy of ['[data-display=errors]', '[data-toggle=truth]']) root.querySelector(needy).disabled = !truth;
  root.querySelector('[data-do=palette]').setAttribute('aria-pressed', String(state.palette === 'safe'));
  root.querySelector('[data-do=back]').hidden = state.source === 'start';
}

function ownThreshold(facts, state) {
  if (state.threshold !== null) return state.threshold;
  return (facts.models.find(m => m.name === state.focus) || facts.models[0]).threshold;
}

/** Keys that belong to a control of their own: text, numbers, an open dialog, a tabbed slider. */
function keyIsTaken(event, root) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return true;
  if (root.querySelector('.gs-help').open) return event.key !== '?'; // Escape closes it by itself
  const target = event.target;
  if (!(target instanceof HTMLElement)) return false;
  if (target.isContentEditable || target.matches('textarea, select')) return true;
  if (!target.matches('input') || target.type === 'checkbox') return false;
  return target.type !== 'range' || /^(Arrow|Page|Home|End)/.test(event.key);
}

function bindKeys(root, actions) {
  const keys = {
    ArrowLeft: 'previous', ArrowRight: 'next', PageUp: 'modelUp', PageDown: 'modelDown',
    e: 'errors', p: 'probability', t: 'truth', a: 'adapt', c: 'palette', r: 'reset', '?': 'help', Escape: 'dismiss',
  };
  const listen = event => {
    if (!root.isConnected) return document.removeEventListener('keydown', listen, true);
    const action = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!action || keyIsTaken(event, root)) return undefined;
    if (event.key !== 'Escape') event.preventDefault(); // page up and down would scroll
    return actions[action]();
  };
  document.addEventListener('keydown', listen, true);
}

/** The files that may go up, and for each of the others its name and the reason. */
function sortFiles(list, limits) {
  const good = [], rejected = [];
  for (const file of list) {
    let reason = '';
    if (!/\.npy$/i.test(file.name)) reason = 'The file is not a .npy file; save the array with numpy.save.';
    else if (file.size > limits.bytes) reason = `The file is larger than ${limits.bytes.toLocaleString('en')} bytes; cut it into slices.`;
    else if (good.length >= limits.files) reason = `Only ${limits.files} files fit in one upload; send it in parts.`;
    if (reason) rejected.push({ name: file.name, reason }); else good.push(file);
  }
  return { good, rejected };
}

/** Give files to Gradio's own hidden input: it uploads them, and the server checks where they lie. */
function sendFiles(files) {
  const input = document.querySelector('#geoseg-upload input[type=file]');
  const transfer = new DataTransfer();
  for (const file of files) transfer.items.add(file);
  input.files = transfer.files;
  input.dispatchEvent(new Event('change', { bubbles: true }));
}

/** Gradio's own description of the endpoint opens from its footer, which page.css hides. */
function openApiPage() {
  const button = document.querySelector('footer .show-api');
  if (button) button.click(); else window.open('gradio_api/openapi.json');
}

function bindFiles(root, take) {
  const input = root.querySelector('.gs-files');
  input.addEventListener('change', () => {
    if (input.files.length) take([...input.files]);
    input.value = ''; // so that the same files can be chosen again
  });
  let depth = 0; // dragenter and dragleave fire for every child
  const hasFiles = event => event.dataTransfer && [...event.dataTransfer.types].includes('Files');
  const show = () => root.classList.toggle('gs-dropping', depth > 0);
  const on = (name, handle) => document.addEventListener(name, event => {
    if (!root.isConnected || !hasFiles(event)) return;
    event.preventDefault();
    handle(event);
    show();
  });
  on('dragenter', () => { depth += 1; });
  on('dragleave', () => { depth = Math.max(0, depth - 1); });
  on('dragover', () => {});
  on('drop', event => { depth = 0; take([...event.dataTransfer.files]); });
}
