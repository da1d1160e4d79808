// The probe: how every model's mask holds when the patch is turned, made noisy, louder, or torn.

const PROBE_AFTER_MS = 350; // of rest, so that a drag does not start one at every step
const PROBES_KEPT = 512; // curves; 2 kB each

const PROBES = {
  shift: {
    ticks: at => at.map((v, i) => [i, String(v)]).filter(([i]) => i % Math.ceil(at.length / 4) === 0),
    set: 'shift',
  },
  noise: { ticks: at => at.map((v, i) => [i, v.toFixed(3)]).filter(([i]) => i % 2 === 0), set: 'noise' },
  gain: { ticks: at => at.map((v, i) => [i, `\u00d7${v < 1 ? `1/${Math.round(1 / v)}` : v}`]).filter(([i]) => i % 2 === 0) },
  nulls: { ticks: at => at.map((v, i) => [i, String(v)]) },
};

/** What a model's turns come to: its lowest agreement with itself, and at which shift. */
function worstOf({ at, kept, marked }) {
  const values = kept.mean.map(v => (v === null ? 1 : v));
  const lowest = Math.min(...values);
  return { lowest, at: at[values.indexOf(lowest)], exact: lowest === 1 && marked > 0, empty: lowest === 1 && !marked, tried: at.length };
}

function makeProbe(app) {
  const { state, facts, channels } = app;
  const numberOf = name => facts.models.findIndex(m => m.name === name);
  const memory = new Map(), charts = {};
  let running = '', waiting = 0, refused = '', progress = null;

  const node = el('div', 'gs-probe');
  const measures = el('div', 'gs-group gs-measures');
  measures.setAttribute('role', 'group');
  measures.setAttribute('aria-label', say('probe.measure'));
  for (const measure of CHOICES.measure) {
    const button = el('button', '', say(`probe.${measure}`));
    button.type = 'button';
    button.title = say(`probe.${measure}_tip`);
    button.dataset.measure = measure;
    button.addEventListener('click', () => { state.measure = measure; app.paint(); });
    measures.append(button);
  }
  const verdicts = el('ul', 'gs-verdicts');
  verdicts.setAttribute('aria-label', say('probe.verdicts'));
  const work = el('div', 'gs-work'), bar = el('progress'), told = el('span'), halter = el('button', '', say('probe.stop'));
  told.setAttribute('role', 'status');
  bar.setAttribute('aria-label', say('probe.progress'));
  halter.type = 'button';
  work.append(bar, told, halter);
  node.append(el('p', '', say('probe.what')), measures, work, el('h3', '', say('probe.verdicts')), verdicts);
  for (const [name, { ticks, set }] of Object.entries(PROBES)) {
    const title = el('h3', '', say(`probe.${name}`));
    title.append(' ', el('small', '', say(`probe.${name}_unit`)));
    charts[name] = makeCurves({
      title: title.textContent,
      ticks,
      nameOf: value => say(`probe.${name}_at`, { value: nameOfStep(name, value) }),
      pick: set && (value => {
        state[set] = value;
        app.ask();
      }),
    });
    node.append(title, charts[name].node);
  }
  halter.addEventListener('click', () => {
    if (running) { refused = running; halt(); } else refused = '';
    app.paint();
  });

  function nameOfStep(name, value) {
    return name === 'noise' ? value.toFixed(4) : name === 'gain' ? String(Number(value.toFixed(2))) : String(value);
  }

  /** What a curve depends on: everything but the one thing that its probe changes. */
  function inputOfProbe(name) {
    const input = { ...inputOf(state), seed: state.seed };
    delete input[name];
    if (name !== 'noise' && !state.noise) delete input.seed;
    return input;
  }
  const keyOf = (name, model) => JSON.stringify([name, model, state.threshold, inputOfProbe(name)]);

  /** The curves that are not known yet, as one message; null where all are. */
  function lacking() {
    const lacks = (name, model) => !memory.has(keyOf(name, model));
    const probes = Object.keys(PROBES).filter(name => state.models.some(model => lacks(name, model)));
    if (!probes.length) return null;
    const models = state.models.filter(model => probes.some(name => lacks(name, model)));
    return { ...inputOf(state), seed: state.seed, threshold: state.threshold, models, probes };
  }

  function remember(keys, curves) {
    for (const [name, { at, models }] of Object.entries(curves)) {
      for (const [model, found] of Object.entries(models)) memory.set(keys[name][model], { at, ...found });
    }
    while (memory.size > PROBES_KEPT) memory.delete(memory.keys().next().value);
  }

  function halt() {
    clearTimeout(waiting);
    if (running) channels.stop('probe');
    running = '';
    progress = null;
  }

  function ask(inputs) {
    const message = lacking(), keys = {};
    if (!message) return;
    for (const name of message.probes) {
      keys[name] = Object.fromEntries(message.models.map(model => [model, keyOf(name, model)]));
    }
    running = inputs;
    channels.call('probe', message, answer => {
      if (answer.error) {
        app.notify(say('save.failed', { reason: answer.reason }));
        if (running === inputs) refused = inputs;
        return halt();
      }
      if (!answer.waiting) remember(keys, answer.curves);
      if (running !== inputs) return;
      if (state.sheet !== 'probe') return halt();
      progress = answer;
      if (!answer.waiting && answer.done === answer.of) { running = ''; progress = null; }
      app.paint();
    });
    paint();
  }

  /** What a run is for: another one makes it stale. */
  const inputsNow = () => JSON.stringify([state.models, state.threshold, inputOf(state), state.seed]);

  /** Ask for what is lacking once the page has come to rest; a run for something else is ended. */
  function update() {
    if (state.name || !state.models.length) return; // the place of the patch is not known yet
    const inputs = inputsNow(), complete = !lacking();
    if (running && (complete || running !== inputs)) halt();
    if (complete || running || inputs === refused) return;
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      if (state.sheet === 'probe' && !running && inputs === inputsNow()) ask(inputs);
    }, PROBE_AFTER_MS);
  }

  const measureOfScene = () => (app.scene && app.scene.truth ? state.measure : 'kept');

  function words(name, known, measure) {
    const parts = known.map(({ model, curve }) => {
      if (curve.error) return say('probe.fails', { model, reason: curve.error });
      const values = curve[measure].mean;
      const numbers = values.filter(v => v !== null);
      if (!numbers.length) return say('probe.nothing', { model });
      const low = Math.min(...numbers);
      const at = say(`probe.${name}_at`, { value: nameOfStep(name, curve.at[values.indexOf(low)]) });
      if (name === 'shift' && measure === 'kept' && low === 1 && !curve.marked) return say('probe.marks_nothing', { model });
      if (name === 'shift' && measure === 'kept' && low === 1) return say('probe.identical', { model, tried: curve.at.length });
      return say('probe.lowest', { model, low: low.toFixed(2), at });
    });
    return [say('probe.chart', { probe: say(`probe.${name}`), measure: say(`probe.${measure}`) }), ...parts].join(' ');
  }

  function paintVerdicts() {
    verdicts.replaceChildren(...state.models.map(model => {
      const item = el('li'), curve = memory.get(keyOf('shift', model));
      const sample = svg('svg', { viewBox: '0 0 30 10', 'aria-hidden': 'true' });
      sample.append(svg('path', { class: 'gs-curve', d: 'M1 5H29', ...lineOf(numberOf(model)) }));
      const worst = curve && !curve.error ? worstOf(curve) : null;
      const text = !curve ? '\u2026' : curve.error ? curve.error
        : worst.exact ? say('probe.exact') : worst.empty ? say('probe.empty') : say('probe.worst', { lowest: worst.lowest.toFixed(2), shift: worst.at });
      item.append(sample, el('strong', '', model), el('span', worst && worst.exact ? 'gs-exact' : '', text));
      return item;
    }));
  }

  function paint() {
    const truth = Boolean(app.scene && app.scene.truth), measure = measureOfScene();
    for (const button of measures.children) {
      button.disabled = button.dataset.measure === 'iou' && !truth;
      button.setAttribute('aria-pressed', String(button.dataset.measure === measure));
    }
    paintVerdicts();
    for (const [name, { set }] of Object.entries(PROBES)) {
      const known = state.models.map(model => ({ model, curve: memory.get(keyOf(name, model)) }))
        .filter(({ curve }) => curve && (curve.error || curve[measure]));
      // What was seen last stays, faintly, until there is something newer.
      charts[name].node.classList.toggle('gs-stale', !known.length);
      if (!known.length && state.models.length) continue;
      const lines = known.filter(({ curve }) => curve[measure])
        .map(({ model, curve }) => ({ name: model, number: numberOf(model), ...curve[measure] }));
      const at = known.length ? known[0].curve.at : [];
      charts[name].paint({ at, lines, now: set && state[set], label: words(name, known, measure) });
    }
    const complete = !lacking(), stopped = refused === inputsNow();
    work.classList.toggle('gs-idle', complete);
    const { done = 0, of = 1 } = progress || {};
    bar.max = Math.max(of, 1);
    bar.value = complete ? bar.max : done;
    tell(told, say(complete ? 'probe.done' : stopped ? 'probe.halted' : progress && progress.waiting ? 'set.waiting' : 'probe.busy'));
    halter.textContent = running ? say('probe.stop') : say('probe.again');
    halter.hidden = complete || !(running || stopped);
  }

  return {
    name: 'probe', title: say('probe.title'), tip: say('probe.tip'), key: 'i', node,
    seen() { update(); paint(); },
    get running() { return Boolean(running); },
    get known() { return memory.size; },
  };
}
