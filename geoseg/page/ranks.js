// What the models make of the whole set: asked for as a job, kept as long as the set is browsed.

// From bad to good, as lightness alone: the line under a small picture.
const MARKS = [[206, 36, 52], [236, 140, 66], [250, 226, 140]];

function markColour(value) {
  const i = value < 0.5 ? 0 : 1;
  return css(MARKS[i].map((c, k) => Math.round(c + (MARKS[i + 1][k] - c) * (2 * value - i))));
}

/** One model's scores of every patch, and its marked share, from the counts that the server sends. */
function makeRank(model, labelled) {
  const counts = new Int32Array(bytesOf(model.counts).buffer);
  const blank = () => new Float64Array(labelled.length).fill(NaN);
  const values = Object.fromEntries([...SCORES, 'share'].map(key => [key, blank()]));
  for (let i = 0; i < labelled.length; i++) {
    const [tp, fp, fn, tn] = counts.subarray(4 * i, 4 * i + 4);
    const scores = labelled[i] ? scoresFrom(tp, fp, fn, tn) : null;
    if (scores) for (const key of SCORES) values[key][i] = scores[key];
    values.share[i] = (tp + fp) / (tp + fp + fn + tn); // 0 / 0 is NaN
  }
  return { ...model, counts, values };
}

/** The mean over patches ("macro"), or that of all their pixels as one patch ("micro"). */
function averageOf(rank, key, indices, average) {
  if (average === 'micro') {
    const sums = [0, 0, 0, 0];
    for (const i of indices) {
      if (key === 'share' || !Number.isNaN(rank.values[key][i])) sums.forEach((_, k) => { sums[k] += rank.counts[4 * i + k]; });
    }
    const [tp, fp, fn, tn] = sums;
    if (key === 'share') return (tp + fp) / (tp + fp + fn + tn);
    const scores = scoresFrom(tp, fp, fn, tn);
    return scores ? scores[key] : NaN;
  }
  const values = indices.map(i => rank.values[key][i]).filter(v => !Number.isNaN(v));
  return values.reduce((sum, v) => sum + v, 0) / values.length; // 0 / 0 is NaN
}

/**
 * The scores of the set in force. `known` is null until they are there, then `{ labelled, models:
 * Map of name to rank, together, disagreement, suspects }`: `together` are the models that were
 * compared with each other, and `version` counts what became known. `job` is null unless one runs.
 * `heard(listener)` is told of all changes.
 */
function makeRanks(app, strip) {
  const { state, facts } = app;
  const listeners = [];
  let known = null, job = null, fault = '', set = '', version = 0;

  const endless = () => state.source === 'synthetic';

  function changed() {
    for (const listener of listeners) listener();
  }

  function merge(answer) {
    const labelled = bytesOf(answer.labelled);
    const models = new Map(known ? known.models : []);
    for (const model of answer.models) models.set(model.name, makeRank(model, labelled));
    const names = answer.models.map(m => m.name);
    const compared = names.length > 1 || !known
      ? { together: names, disagreement: floatsOf(answer.disagreement), suspects: answer.suspects } : {};
    known = { ...known, labelled, models, ...compared };
    version += 1;
  }

  function score(models) {
    cancel();
    const mine = job = { models, done: 0, total: 0, model: '', waiting: true };
    fault = '';
    app.channels.call('rank', { ...setOf(state), models }, answer => {
      if (job !== mine || answer.waiting) return;
      if (answer.error) {
        cancel();
        fault = say('save.failed', { reason: answer.reason });
      } else if (answer.labelled === undefined) {
        Object.assign(job, { done: answer.done, total: answer.total, model: answer.model, waiting: false });
      } else {
        job = null;
        merge(answer);
        strip.offer(ways());
        strip.redraw();
      }
      changed();
    });
    changed();
  }

  function cancel() {
    if (!job) return;
    job = null;
    app.channels.stop('rank');
    const all = ways(), way = all.find(w => w.key === state.sort);
    if (way && !way.values) state.sort = 'file'; // else it would be asked for again
    strip.offer(all);
    changed();
  }

  function ways() {
    const { labelled } = strip.list;
    const two = known && known.together.length > 1;
    const doubt = () => {
      const values = new Float64Array(known.labelled.length).fill(NaN);
      for (const suspect of known.suspects) values[suspect.patch] = -suspect.doubt;
      return values;
    };
    const all = [{ key: 'disagreement', label: say('set.by_disagreement'), values: two ? known.disagreement.map(v => -v) : null }];
    if (labelled) all.push({ key: 'doubt', label: say('set.by_doubt'), values: two ? doubt() : null });
    if (facts.models.length < 2) all.length = 0;
    for (const { name } of facts.models) {
      const rank = known && known.models.get(name), group = say('set.by_model', { model: name });
      for (const key of [...(labelled ? SCORES : []), 'share']) {
        const label = say('set.by_score', { score: say(`set.scores.${key}`), model: name });
        const values = rank && (key === 'share' ? rank.values.share.map(v => -v) : rank.values[key]);
        all.push({ key: `${key} ${name}`, label, values: values || null, group });
      }
    }
    return all;
  }

  app.sorts = () => {
    if (app.setKey() !== set) { // another set is browsed
      set = app.setKey();
      known = null;
      version += 1;
      fault = '';
      cancel();
      changed();
    }
    return endless() ? [] : ways();
  };
  app.wanted = key => {
    if (job) return; // what it lacks is asked for when it is done
    const name = key.slice(key.indexOf(' ') + 1);
    const models = facts.models.map(m => m.name).filter(m => m === name || state.models.includes(m));
    if (!key.includes(' ') && models.length < 2) {
      app.notify(say('set.needs_two'));
      state.sort = 'file';
    } else score(models);
  };
  strip.mark(index => {
    const rank = known && known.models.get(state.focus);
    const value = rank ? rank.values.iou[index] : NaN;
    return Number.isNaN(value) ? '' : markColour(value);
  });

  return {
    score, cancel,
    get known() { return known; },
    get job() { return job; },
    get fault() { return fault; },
    get version() { return version; },
    /** Whether the set has no end, and so no scores. */
    get endless() { return endless(); },
    /** Whether the models that are ticked are those of the numbers. */
    get fresh() {
      if (!known || !state.models.every(name => known.models.has(name))) return false;
      return state.models.length < 2 || state.models.join() === known.together.join();
    },
    heard(listener) { listeners.push(listener); },
  };
}
