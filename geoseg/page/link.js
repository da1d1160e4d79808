// A link that opens the same patch, models and settings: the state, as far as it is not the usual one.

const LINKED = {
  patch: { read: text => text, of: (state, app) => app.name },
  source: {}, // uploads are there for this tab alone: another one is told so
  knobs: { of: state => (state.source === 'synthetic' ? writeKnobs(state.knobs) : '') },
  toy: {}, measure: {},
  models: { read: text => text.split(',').filter(Boolean), write: list => list.join(',') },
  focus: {}, shift: { read: Number }, noise: { read: Number }, seed: { read: Number },
  display: {}, truth: { read: text => text === 'true' }, range: {}, threshold: { read: Number },
  opacity: { read: Number }, palette: {}, sort: {}, well: {}, sheet: {},
};

/** The part of an address behind `#`. */
function linkOf(state, usual, app) {
  const words = new URLSearchParams();
  for (const [key, { write = String, of }] of Object.entries(LINKED)) {
    const value = of ? of(state, app) : state[key];
    if (of ? value : write(value) !== write(usual[key])) words.set(key, of ? value : write(value));
  }
  return words.toString();
}

/** Read a link into a state; what is no setting of ours, or out of range, is left as usual. */
function readLink(hash, usual, facts) {
  const state = { ...usual };
  for (const [key, text] of new URLSearchParams(hash.replace(/^#/, ''))) {
    if (!Object.hasOwn(LINKED, key)) continue;
    const { read = String } = LINKED[key];
    if (read === Number && (!text || !Number.isFinite(Number(text)))) continue;
    if (key === 'patch') state.name = text; else state[key] = key === 'knobs' ? readKnobs(text, facts) : read(text);
  }
  const names = facts.models.map(m => m.name);
  state.models = names.filter(name => state.models.includes(name));
  if (!names.includes(state.focus)) state.focus = state.models[0] || names[0];
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
  state.shift = Math.round(clamp(state.shift, 0, facts.maxShift));
  state.noise = clamp(state.noise, 0, facts.maxNoise);
  state.seed = Math.round(clamp(state.seed, 0, facts.maxSeed));
  state.opacity = clamp(state.opacity, 0, 100);
  if (state.threshold !== null) state.threshold = clamp(state.threshold, 0, 1);
  for (const [key, choices] of Object.entries(CHOICES)) if (!choices.includes(state[key])) state[key] = usual[key];
  return state;
}
