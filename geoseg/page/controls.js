// Sliders, buttons, keys and files. They change `state` and say whether the server must be asked.

const SERVER = ['shift', 'noise', 'seed'];

const CHOICES = {
  source: ['start', 'uploads', 'synthetic'],
  display: ['errors', 'mask', 'probability', 'uncertainty', 'disagreement'],
  range: ['fixed', 'percentile', 'full'],
  palette: ['classic', 'safe'],
  measure: ['iou', 'kept'],
  toy: ['none', 'trivial', 'easy', 'medium'],
};

/** Settings at the start. `name` wins over `index` until it is found; `order` null is the files'. */
function initialState(facts) {
  return {
    source: 'start', uploads: 0, index: 0, name: '', order: null, sort: 'file', well: 'all',
    shift: 0, noise: 0, seed: 0, models: [...facts.shown], focus: facts.shown[0] || facts.models[0].name,
    display: 'errors', truth: true, range: 'fixed', threshold: null, opacity: 35,
    palette: 'classic', sheet: null, measure: 'iou', knobs: {}, toy: 'none',
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
    else input.addEventListener('keydown', event => { if (event.key === 'Enter') input.blur(); });
    if (input.name === 'threshold') input.addEventListener('dblclick', () => { state.threshold = null; changed(false); });
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

/** Write the state into every control; `scene` is null before the first answer. */
function showState(root, facts, state, scene) {
  const truth = !scene || scene.truth;
  // Until the width is known the slider must not cut off what a link asks for.
  root.querySelector('[name=shift]').max = scene ? scene.columns - 1 : facts.maxShift;
  for (const input of root.querySelectorAll('.gs-sliders input')) {
    const value = input.name === 'threshold' ? ownThreshold(facts, state) : state[input.name];
    if (document.activeElement !== input || input.type === 'range') input.value = value;
  }
  const texts = {
    shift: scene ? say('dock.shift_value', { shift: state.shift, columns: scene.columns }) : '',
    noise: state.noise.toFixed(4),
    threshold: state.threshold === null ? say('dock.as_trained') : state.threshold.toFixed(2),
    opacity: state.opacity ? say('dock.percent', { n: state.opacity }) : say('dock.off'),
  };
  tell(root.querySelector('.gs-range'), say(`dock.range.${state.range}`));
  for (const output of root.querySelectorAll('.gs-sliders output')) {
    const name = output.dataset.for;
    tell(output, texts[name]);
    mark(root.querySelector(`[name=${name}]`), 'aria-valuetext', texts[name]);
  }
  for (const box of root.querySelectorAll('.gs-models input')) box.checked = state.models.includes(box.value);
  for (const button of root.querySelectorAll('[data-display]')) {
    mark(button, 'aria-pressed', String(button.dataset.display === displayOf(state, truth)));
  }
  for (const button of root.querySelectorAll('[data-toggle]')) {
    mark(button, 'aria-pressed', String(state[button.dataset.toggle]));
  }
  for (const needy of ['[data-display=errors]', '[data-toggle=truth]']) root.querySelector(needy).disabled = !truth;
  root.querySelector('[data-display=disagreement]').disabled = state.models.length < 2;
  mark(root.querySelector('[data-do=palette]'), 'aria-pressed', String(state.palette === 'safe'));
  const back = root.querySelector('[data-do=back]');
  if (state.source === 'start') handOver(back, root.querySelector('[data-do=open]'));
  back.hidden = state.source === 'start';
  tell(back, say(state.source === 'synthetic' ? 'synthetic.leave' : 'bar.back'));
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
  if ('arrows' in target.dataset) return /^(Arrow|Home|End|Enter)/.test(event.key);
  if (target.isContentEditable || target.matches('textarea, select')) return true;
  if (!target.matches('input') || target.type === 'checkbox') return false;
  return target.type !== 'range' || /^(Arrow|Page|Home|End)/.test(event.key);
}

/** Every key, the action it takes, and the line that the help says of it. */
const KEYS = [
  [['ArrowLeft'], 'previous', ''], [['ArrowRight'], 'next', 'browse'],
  [['PageUp'], 'modelUp', ''], [['PageDown'], 'modelDown', 'model'],
  [['e'], 'errors', 'errors'], [['p'], 'probability', 'probability'], [['u'], 'uncertainty', 'uncertainty'],
  [['d'], 'disagreement', 'disagreement'], [['t'], 'truth', 'truth'], [['a'], 'range', 'range'],
  [['c'], 'palette', 'palette'], [['+', '='], 'zoomIn', ''], [['-'], 'zoomOut', ''], [['0'], 'zoomOff', 'zoom'],
  [['Shift+ArrowLeft'], 'panLeft', ''], [['Shift+ArrowRight'], 'panRight', ''],
  [['Shift+ArrowUp'], 'panUp', ''], [['Shift+ArrowDown'], 'panDown', 'pan'],
  [['f'], 'full', 'full'], [['/'], 'jump', 'jump'], [['r'], 'reset', 'reset'], [['?'], 'help', 'help'],
];
const KEY_SIGNS = {
  ArrowLeft: '\u2190', ArrowRight: '\u2192', PageUp: 'Page Up', PageDown: 'Page Down',
  'Shift+ArrowLeft': '\u21e7\u2190', 'Shift+ArrowRight': '\u21e7\u2192', 'Shift+ArrowUp': '\u21e7\u2191', 'Shift+ArrowDown': '\u21e7\u2193',
};

/** The sheets' own keys come with the sheets: `[[key], action, line]` each. */
function bindKeys(root, actions, keys) {
  const byKey = new Map(keys.flatMap(([all, action]) => all.map(key => [key, action])));
  const listen = event => {
    if (!root.isConnected) return document.removeEventListener('keydown', listen, true);
    const shifted = event.shiftKey && event.key.startsWith('Arrow') ? 'Shift+' : '';
    const action = byKey.get(event.key.length === 1 ? event.key.toLowerCase() : shifted + event.key);
    if (!action || keyIsTaken(event, root)) return undefined;
    if (event.key !== 'Escape') event.preventDefault(); // page up and down would scroll
    return actions[action]();
  };
  document.addEventListener('keydown', listen, true);
}

/** The help's list: keys that belong together stand in one line, which the last of them names. */
function listKeys(list, keys) {
  let signs = [];
  for (const [all, , line] of keys) {
    signs.push(all[0]);
    if (!line) continue;
    const item = el('div'), term = el('dt');
    for (const key of signs) term.append(el('kbd', '', KEY_SIGNS[key] || key.toUpperCase()), ' ');
    item.append(term, el('dd', '', line.includes(' ') ? line : say(`keys.${line}`)));
    list.append(item);
    signs = [];
  }
}

/** The files that may go up, and for each of the others its name and the reason. */
function sortFiles(list, limits) {
  const good = [], rejected = [];
  let total = 0;
  for (const file of list) {
    let reason = '';
    if (!/\.npy$/i.test(file.name)) reason = say('notice.not_npy');
    else if (file.size > limits.bytes) reason = say('notice.too_large', { bytes: limits.bytes.toLocaleString('en') });
    else if (good.length >= limits.files) reason = say('notice.too_many', { files: limits.files });
    else if (total + file.size > limits.total) reason = say('notice.too_much', { megabytes: Math.floor(limits.total / 2 ** 20) });
    if (reason) { rejected.push({ name: file.name, reason }); continue; }
    total += file.size;
    good.push(file);
  }
  return { good, rejected };
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
