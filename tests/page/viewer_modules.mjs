// Runs the viewer's numeric functions on what test_viewer_modules.py writes to standard input, and
// writes their results. Infinity and NaN travel as null.

import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

const [folder] = process.argv.slice(2);
const load = name => import(pathToFileURL(`${folder}/${name}.js`).href);
const [numbers, colours, dom, state, orders, link, files, legend, picture] = await Promise.all(
  ['numbers', 'colours', 'dom', 'state', 'orders', 'link', 'files', 'legend', 'picture'].map(load));
const given = JSON.parse(readFileSync(0, 'utf8'));
const floats = values => Float32Array.from(values, v => (v === null ? NaN : v));
const list = values => [...values];

function sceneOf({ rows, columns, patch, truth, models }) {
  const values = floats(patch), labels = truth && Uint8Array.from(truth);
  return {
    rows, columns, patch: values, truth: labels, lost: values.filter(Number.isNaN).length,
    models: models.map(({ name, threshold, probability }) => ({ name, threshold, probability: floats(probability) })),
  };
}

/** What the viewer computes of a scene at a threshold. */
function judged(scene, threshold) {
  numbers.judge(scene, threshold);
  return scene.models.map(model => ({
    classes: list(model.classes), scores: model.scores, share: model.share, outline: model.outline, best: list(model.best),
    uncertainty: list(numbers.uncertaintyOf(model.probability)),
    disagreement: list(numbers.disagreementOf(model, scene.models)),
  }));
}

async function encoded({ values, rows, columns, kind }) {
  const array = kind === 'mask' ? Uint8Array.from(values) : floats(values);
  return Buffer.from(await files.npyOf(array, rows, columns).arrayBuffer()).toString('base64');
}

function painted(scene) {
  numbers.judge(scene, null);
  const [model] = scene.models, palette = colours.PALETTES.classic, all = [...scene.patch.keys()];
  return {
    errors: all.map(colours.mapColour('errors', palette, model)),
    grey: all.map(colours.patchColour(scene.patch, numbers.rangeOf(scene.patch, 'fixed'), palette, null, 0)),
  };
}

const { fixture, scene, links, facts, ordered, arrays, steps } = given;
const usual = state.initialState(facts);
const labelled = Uint8Array.from(fixture, () => 1);
const ranks = orders.scorePatches(Int32Array.from(fixture.flatMap(({ counts }) => counts)), labelled);
const [seen, unlabelled] = [sceneOf(scene), sceneOf({ ...scene, truth: null })];

console.log(JSON.stringify({
  names: numbers.SCORES,
  scores: fixture.map(({ probability, label }) => (
    numbers.scoresOf(numbers.classify(floats(probability), Uint8Array.from(label), 0.5)))),
  ranks: fixture.map((_, i) => Object.fromEntries(numbers.SCORES.map(key => [key, ranks[key][i]]))),
  own: judged(seen, null),
  low: judged(seen, 0.25),
  unlabelled: judged(unlabelled, null),
  nulls: numbers.nullPath(scene.rows, scene.columns, seen.patch),
  ranges: Object.fromEntries(state.CHOICES.grey.map(grey => [grey, numbers.rangeOf(seen.patch, grey)])),
  painted: painted(seen),
  palettes: colours.PALETTES,
  heat: [...Array(101).keys()].map(p => colours.heat(p / 100)),
  displays: Object.fromEntries(state.CHOICES.display.map(display => (
    [display, [[seen.truth, 2], [null, 2], [seen.truth, 1]].map(
      ([truth, n]) => colours.displayOf({ display, models: facts.shown.slice(0, n) }, truth))]))),
  legends: state.CHOICES.display.map(display => legend.legendOf(seen, { ...usual, display }).map(({ text }) => text)),
  pixels: [...seen.patch.keys()].map(i => legend.describePixel(seen, Math.floor(i / scene.columns), i % scene.columns)),
  view: picture.describeView({
    scene: seen, zoom: { k: 2, x: -1, y: -0.5 },
    state: { ...usual, shift: 3, noise: 0.01, seed: 7, threshold: 0.4 },
  }),
  links: links.states.map(one => {
    const text = link.linkOf({ ...usual, ...one }, usual, one.name);
    return { text, state: link.readLink(`#${text}`, usual, facts) };
  }),
  hashes: links.hashes.map(hash => link.readLink(hash, usual, facts)),
  usual,
  ordered: ordered.map(({ values, wanted }) => (
    state.orderOf(wanted.length, values && floats(values), i => wanted[i]))),
  steps: steps.map(({ order, index, count, by }) => state.stepped({ order, index }, count, by)),
  arrays: await Promise.all(arrays.map(encoded)),
  texts: [dom.plural(1, 'patch', 'patches'), dom.plural(1024, 'patch', 'patches'), dom.signed(-0.05), dom.signed(0.5, 1)],
}));
