// The viewer's state: what is shown, how it changes, and how the native controls say it.

/** @typedef {import('./types.js').State} State */
/** @typedef {import('./types.js').Facts} Facts */
/** @typedef {import('./types.js').Scene} Scene */

/** @type {Record<string, readonly string[]>} The values that a setting may have. */
export const CHOICES = {
  source: ['start', 'uploads', 'synthetic'],
  display: ['errors', 'mask', 'probability', 'uncertainty', 'disagreement'],
  grey: ['fixed', 'percentile', 'full'],
  palette: ['classic', 'safe'],
  letters: ['none', 'trivial', 'easy', 'medium'],
};

// A change of these needs the server.
const SERVER = new Set(['shift', 'noise', 'seed', 'models', 'source', 'index', 'name', 'knobs', 'letters']);

/**
 * The state when the page opens.
 * @param {Facts} facts
 * @returns {State}
 */
export function initialState(facts) {
  return {
    source: 'start', uploads: 0, index: 0, name: facts.name, order: null, sort: 'file', well: 'all',
    shift: 0, noise: 0, seed: 0, models: [...facts.shown], focus: facts.shown[0] || facts.models[0].name,
    display: 'errors', truth: true, grey: 'fixed', threshold: null, opacity: 35,
    palette: 'classic', knobs: {}, letters: 'none',
  };
}

/** @param {number} value @param {number} low @param {number} high */
export const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

/**
 * Which set is browsed: another one has other lists, pictures and scores.
 * @param {State} state
 */
export function setOf({ source, uploads, knobs, letters }) {
  return { source, uploads: source === 'uploads' ? uploads : 0, knobs: source === 'synthetic' ? knobs : {}, letters };
}

/**
 * The input of the models. The seed counts only where there is noise.
 * @param {State} state
 */
export function inputOf(state) {
  const { index, shift, noise, seed } = state;
  return { ...setOf(state), index, shift, noise, seed: noise > 0 ? seed : 0 };
}

/**
 * Move the focus to another model that is shown, round and round.
 * @param {State} state @param {number} step
 */
export function stepModel(state, step) {
  const n = state.models.length;
  if (n) state.focus = state.models[(state.models.indexOf(state.focus) + step + n) % n];
}

/**
 * Where the patch stands in the order, from 0; -1 where the filter leaves it out.
 * @param {State} state
 */
export function placeOf(state) {
  return state.order ? state.order.indexOf(state.index) : state.index;
}

/**
 * The index of the patch `step` places further, round and round.
 * @param {State} state @param {number} count @param {number} step
 */
export function stepped(state, count, step) {
  const n = state.order ? state.order.length : count;
  const from = placeOf(state);
  const place = (((from < 0 && step < 0 ? 0 : from) + step) % n + n) % n;
  return state.order ? state.order[place] : place;
}

/**
 * The order of a set: `values` ascending where there are any, of the patches that are `wanted`. A
 * patch without a value comes last; of equals the first file comes first. Null is the files' order.
 * @param {number} count @param {ArrayLike<number> | null} values @param {(i: number) => boolean} wanted
 * @returns {number[] | null}
 */
export function orderOf(count, values, wanted) {
  const all = [...Array(count).keys()].filter(wanted);
  if (!values) return all.length === count ? null : all;
  /** @param {number} i */
  const of = i => (Number.isNaN(values[i]) ? Infinity : values[i]);
  return all.sort((a, b) => of(a) - of(b) || a - b);
}

/**
 * The threshold in force for the model in focus.
 * @param {State} state @param {Facts} facts
 */
export function thresholdOf(state, facts) {
  if (state.threshold !== null) return state.threshold;
  return (facts.models.find(m => m.name === state.focus) || facts.models[0]).threshold;
}

/**
 * Set the models that are shown, in their usual order.
 * @param {State} state @param {Facts} facts @param {unknown} names
 */
function setModels(state, facts, names) {
  const wanted = new Set(Array.isArray(names) ? names : []);
  state.models = facts.models.map(m => m.name).filter(name => wanted.has(name));
  if (!wanted.has(state.focus)) state.focus = state.models[0] || facts.models[0].name;
}

/**
 * Set what a native control says; return whether the server must be asked.
 * @param {State} state @param {Facts} facts @param {string} key @param {any} value
 */
export function setControl(state, facts, key, value) {
  if (key === 'models') setModels(state, facts, value);
  else if (key === 'options') {
    state.threshold = value.includes('own') ? null : thresholdOf(state, facts);
    state.palette = value.includes('safe') ? 'safe' : 'classic';
    state.truth = value.includes('truth');
  }
  else if (CHOICES[key]) {
    if (CHOICES[key].includes(value)) Object.assign(state, { [key]: value });
  } else {
    const high = { shift: facts.maxShift, noise: facts.maxNoise, seed: facts.maxSeed, threshold: 1, opacity: 100 }[key];
    const number = Number(value);
    if (high === undefined || value === null || !Number.isFinite(number)) return false;
    Object.assign(state, { [key]: clamp(key === 'shift' || key === 'seed' ? Math.round(number) : number, 0, high) });
  }
  return SERVER.has(key);
}

/**
 * What a native control must show: a value, or an update of several of its properties.
 * @param {State} state @param {Facts} facts @param {Scene | null} scene @param {string} key
 */
export function controlOf(state, facts, scene, key) {
  const update = { __type__: 'update' };
  switch (key) {
    case 'options': return [
      ...(state.threshold === null ? ['own'] : []), ...(state.truth ? ['truth'] : []), ...(state.palette === 'safe' ? ['safe'] : []),
    ];
    case 'threshold': return thresholdOf(state, facts);
    case 'shift': return { ...update, maximum: scene ? scene.columns - 1 : facts.maxShift, value: state.shift };
    case 'close': return {
      ...update, visible: state.source !== 'start',
      value: state.source === 'synthetic' ? 'Back to the patches' : 'Close your files',
    };
    default: return state[/** @type {keyof State} */ (key)];
  }
}
