// What the models said, so that nothing is asked twice: going back, ticking a model, one step ahead.

const REMEMBERED_BYTES = 2 ** 26; // of the answers kept, the latest used ones; 41 kB each of 36x36 and three models
const REMEMBERED_LEAST = 2; // however large: the one that is shown, and the next
const AHEAD_AFTER_MS = 30; // of quiet, before the next patch is fetched
const AHEAD_BELOW_MS = 200; // a server slower than this is left alone

/** Which set is browsed: another one has other lists, pictures and scores. */
function setOf({ source, uploads, knobs, toy }) {
  return { source, uploads: source === 'uploads' ? uploads : 0, knobs: source === 'synthetic' ? knobs : {}, toy };
}

/** The input of the models: what a change of needs the server. */
function inputOf(state) {
  const { index, shift, noise, seed } = state;
  return { ...setOf(state), index, shift, noise, seed: noise > 0 ? seed : 0 };
}

/** Decode an answer into typed arrays, once; every repaint reuses them. */
function makeScene(answer) {
  const [rows, columns] = answer.shape;
  const patch = floatsOf(answer.patch);
  const truth = answer.truth === null ? null : bytesOf(answer.truth);
  return {
    ...answer, rows, columns, patch, truth, found: new Map(), models: [],
    nulls: nullPath(rows, columns, patch),
    lost: patch.reduce((n, v) => n + Number.isNaN(v), 0),
    outline: truth ? outline(rows, columns, i => truth[i] === 1) : '',
  };
}

/**
 * `see(state, show)` brings the scene of a state: from memory, or from the server, which is asked for
 * the missing models only. While a slider is dragged, older answers are shown as they come.
 */
function makeLooks(channels) {
  const memory = new Map();
  let travel = 0, ahead = 0, began = 0, roundTrip = Infinity;

  const recall = key => {
    const scene = memory.get(key);
    if (scene) { memory.delete(key); memory.set(key, scene); } // the latest used comes last
    return scene;
  };
  const missing = (scene, models) => models.filter(name => !scene || !scene.found.has(name));

  function remember(input, answer) {
    const key = JSON.stringify({ ...input, index: answer.index });
    const scene = recall(key) || makeScene(answer);
    for (const model of answer.models) {
      if (model.error) scene.failed = { ...scene.failed, [model.name]: model };
      else scene.found.set(model.name, { ...model, probability: floatsOf(model.probability) });
    }
    scene.stages = answer.stages;
    // A pixel: its value and truth; of each model a probability, and later a class and a disagreement.
    scene.bytes = scene.patch.length * (5 + 9 * scene.found.size);
    memory.set(key, scene);
    let bytes = [...memory.values()].reduce((sum, kept) => sum + kept.bytes, 0);
    for (const [oldest, kept] of memory) {
      if (bytes <= REMEMBERED_BYTES || memory.size <= REMEMBERED_LEAST) break;
      memory.delete(oldest);
      bytes -= kept.bytes;
    }
    return scene;
  }

  const compose = (scene, models) => {
    scene.models = models.map(name => scene.found.get(name) || (scene.failed || {})[name]).filter(Boolean);
    return scene;
  };

  function fetchAhead(state, count) {
    clearTimeout(ahead);
    if (!travel || count < 2 || roundTrip > AHEAD_BELOW_MS) return;
    ahead = setTimeout(() => {
      const input = { ...inputOf(state), index: stepped(state, count, travel) };
      const models = missing(memory.get(JSON.stringify(input)), state.models);
      if (models.length) channels.call('look', { ...input, models }, answer => { if (answer) remember(input, answer); });
    }, AHEAD_AFTER_MS);
  }

  return {
    see(state, show) {
      clearTimeout(ahead);
      const input = inputOf(state);
      const models = [...state.models];
      const known = state.name ? undefined : recall(JSON.stringify(input));
      if (known && !missing(known, models).length) {
        began = 0; // answers on their way are of the past
        show(compose(known, models), true);
        fetchAhead(state, known.count);
        return;
      }
      const sent = began = performance.now();
      channels.call('look', { ...input, name: state.name, models: missing(known, models) }, answer => {
        if (!answer) return;
        const scene = remember(input, answer);
        if (sent > began || !began) return;
        roundTrip = performance.now() - sent;
        const last = sent === began;
        show(compose(scene, models), last);
        if (last) fetchAhead(state, scene.count);
      });
    },
    /** Which way the user browses: the next patch that way is fetched before it is asked for. */
    travel(step) { travel = Math.sign(step); },
    forget() { memory.clear(); },
  };
}
