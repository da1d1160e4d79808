// Pipes made on the spot from a seed and a few knobs, and the original's toy letters on any patch.

/** The knobs in a link: "width:3,collar:0". What is none of ours is left out. */
function writeKnobs(knobs) {
  return Object.entries(knobs).map(pair => pair.join(':')).join(',');
}

function readKnobs(text, facts) {
  const knobs = {};
  for (const pair of text.split(',')) {
    const [name, value] = pair.split(':'), knob = Object.hasOwn(facts.pipes.knobs, name) && facts.pipes.knobs[name];
    if (!knob || !value || !Number.isFinite(Number(value))) continue;
    knobs[name] = Math.min(Math.max(Number(value), knob.low), knob.high);
  }
  return knobs;
}

/** A value with its unit; what a knob calls nothing has a word of its own. */
function knobText(name, value) {
  if (value === 0 && ['collar', 'lattice', 'nulls'].includes(name)) return say('synthetic.none');
  const shown = name === 'nulls' ? (100 * value).toFixed(0) : value.toFixed({ width: 1, drift: 1, noise: 4 }[name] || 3);
  return say(`synthetic.${name}_value`, { value: shown });
}

function makeSynthetic(app) {
  const { state, facts } = app;
  const seeds = facts.pipes.count;
  const node = el('div', 'gs-synthetic');
  const rows = {};

  const button = (word, action) => {
    const made = el('button', '', say(word));
    made.type = 'button';
    made.addEventListener('click', action);
    return made;
  };
  const pipes = el('div', 'gs-pipes'), start = button('synthetic.start', () => {
    const { source, index, sort, well } = state;
    app.before = { source, index, sort, well };
    app.browse('synthetic', 0);
  });
  const seed = el('input'), seedLabel = el('label', '', say('synthetic.seed'));
  Object.assign(seed, { type: 'number', id: 'gs-pipe', min: 1, max: seeds, step: 1 });
  seedLabel.htmlFor = seed.id;
  const jump = to => app.jump(Math.min(Math.max(to, 1), seeds) - 1);
  seed.addEventListener('keydown', event => { if (event.key === 'Enter') seed.blur(); });
  seed.addEventListener('change', () => {
    const wanted = Math.round(Number(seed.value));
    if (wanted) jump(wanted); else seed.value = state.index + 1;
  });
  const surprise = button('synthetic.surprise', () => jump(1 + Math.floor(Math.random() * seeds)));
  const reset = button('synthetic.reset', () => turn({}));
  const seedRow = el('div', 'gs-row');
  seedRow.append(seedLabel, seed, surprise, button('synthetic.leave', () => app.leave()));
  pipes.append(seedRow, ...Object.entries(facts.pipes.knobs).map(makeKnob), reset);

  function turn(knobs) {
    state.knobs = knobs;
    app.ask();
  }

  function makeKnob([name, knob]) {
    const row = el('div', 'gs-knob');
    row.tabIndex = -1; // takes the focus of the button that goes; a slider would take the arrow keys
    const label = el('label', '', say(`synthetic.${name}`));
    const text = el('output'), slider = el('input');
    Object.assign(slider, { type: 'range', id: `gs-knob-${name}`, min: knob.low, max: knob.high, step: knob.step });
    text.setAttribute('aria-live', 'off'); // the slider says it
    label.htmlFor = slider.id;
    slider.dataset.knob = name;
    slider.title = say(`synthetic.${name}_tip`);
    slider.setAttribute('aria-label', say(`synthetic.${name}`));
    // In the order of the knobs, so that the same settings are the same state.
    slider.addEventListener('input', () => turn(Object.fromEntries(Object.keys(facts.pipes.knobs)
      .map(key => [key, key === name ? Number(slider.value) : state.knobs[key]])
      .filter(([, value]) => value !== undefined))));
    slider.addEventListener('pointerup', () => slider.blur()); // or it keeps the arrow keys
    const own = button('synthetic.own', () => {
      const { [name]: gone, ...others } = state.knobs;
      turn(others);
    });
    own.setAttribute('aria-label', say('synthetic.own_name', { knob: say(`synthetic.${name}`) }));
    row.append(label, text, own, slider);
    rows[name] = { row, text, slider, own };
    return row;
  }

  const toys = el('div', 'gs-group'), toyText = el('p'), note = el('p', 'gs-toy-note');
  toys.setAttribute('role', 'group');
  toys.setAttribute('aria-label', say('synthetic.toys'));
  note.setAttribute('role', 'status');
  for (const toy of CHOICES.toy) {
    const choice = button(`synthetic.toy.${toy}`, () => { state.toy = toy; app.ask(); });
    choice.dataset.toy = toy;
    toys.append(choice);
  }
  node.append(el('p', '', say('synthetic.what')), start, pipes,
    el('h3', '', say('synthetic.toys')), el('p', '', say('synthetic.toys_what')), toys, toyText, note);

  function paintKnobs(drawn) {
    for (const [name, { row, text, slider, own }] of Object.entries(rows)) {
      const fixed = state.knobs[name], value = fixed ?? drawn[name] ?? 0;
      slider.value = value;
      row.classList.toggle('gs-fixed', fixed !== undefined);
      tell(text, fixed === undefined
        ? say(name === 'collar' ? 'synthetic.drawn_collar' : 'synthetic.drawn', { value: knobText(name, value) })
        : knobText(name, value));
      slider.setAttribute('aria-valuetext', text.textContent);
      if (fixed === undefined) handOver(own, row);
      own.disabled = fixed === undefined;
    }
    const none = !Object.keys(state.knobs).length;
    if (none) handOver(reset, Object.values(rows).at(-1).row);
    reset.disabled = none;
  }

  return {
    name: 'synthetic', title: say('synthetic.title'), tip: say('synthetic.tip'), key: 'y', node,
    seen(scene) {
      const here = state.source === 'synthetic';
      const [shown, gone] = here ? [pipes, start] : [start, pipes];
      shown.hidden = false;
      handOver(gone, here ? surprise : start);
      gone.hidden = true;
      if (here) {
        if (document.activeElement !== seed) seed.value = state.index + 1;
        paintKnobs(scene.facts.drawn || {});
      }
      for (const choice of toys.children) choice.setAttribute('aria-pressed', String(choice.dataset.toy === state.toy));
      toyText.textContent = say(`synthetic.toy_what.${state.toy}`);
      tell(note, scene.facts.note ? say('synthetic.note', { note: scene.facts.note }) : '');
    },
  };
}
