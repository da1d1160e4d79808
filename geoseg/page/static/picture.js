// The view as one picture that explains itself: the panels as they are seen, each with its name and
// scores, and below them the settings and the legend.

import { css, displayOf, HEAT } from './colours.js';
import { signed } from './dom.js';
import { download, stemOf } from './files.js';
import { legendOf } from './legend.js';
import { rangeOf, SCORES } from './numbers.js';
import { SCORE_NAMES, shapeOf } from './panels.js';

/** @import { Scene, State } from './types.js' */
/** @import { View } from './panels.js' */
/** @import { Sign } from './legend.js' */
/** @typedef {{ left: number, top: number, share: number }} Part of a patch, in shares of its width and height */
/** @typedef {{ scene: Scene, state: State, views: View[], root: HTMLElement, zoom: import('./zoom.js').Zoom }} Shown */

const SIDE = 324, GAP = 24, HEAD = 66, FOOT = 62, TITLE = 34, LINE = 19, END = 12, SCALE = 2; // CSS pixels
const SIGN_WIDTHS = { fill: 13, heat: 64, line: 18, dashed: 18, hatch: 13 };
const NULL_GREY = '#80858d'; // the mean of the page's hatching

/** The part that is seen, zoomed or not. @param {import('./zoom.js').Zoom} zoom @returns {Part} */
const partOf = ({ k, x, y }) => ({ left: -x / k, top: -y / k, share: 1 / k });

/** The settings in force, in words. @param {Pick<Shown, 'scene' | 'state' | 'zoom'>} shown */
export function describeView({ scene, state, zoom }) {
  const { left, top, share } = partOf(zoom);
  const [low, high] = rangeOf(scene.patch, state.grey);
  /** @param {number} from @param {number} n */
  const range = (from, n) => `${Math.floor(from * n + 1e-6)} to ${Math.ceil((from + share) * n - 1e-6) - 1}`;
  return [
    state.shift ? `shift ${state.shift}` : '',
    state.noise ? `noise ${state.noise.toFixed(4)} of seed ${state.seed}` : '',
    `threshold ${state.threshold === null ? 'as trained' : state.threshold.toFixed(2)}`,
    `maps: ${displayOf(state, scene.truth)}`,
    `grey from ${signed(low)} to ${signed(high)}`,
    state.opacity ? `overlay ${state.opacity} %` : '',
    share < 1 ? `zoomed: rows ${range(top, scene.rows)}, columns ${range(left, scene.columns)}` : '',
  ].filter(Boolean);
}

/**
 * Things of the given widths in lines of a width: a list of lines, each of `[thing, its place]`.
 * @template T
 * @param {T[]} things @param {(thing: T) => number} widthOf @param {number} width
 */
function inLines(things, widthOf, width) {
  /** @type {[T, number][][]} */
  const lines = [[]];
  let x = 0;
  for (const thing of things) {
    const wide = widthOf(thing);
    if (x && x + wide > width) { lines.push([]); x = 0; }
    lines[lines.length - 1].push([thing, x]);
    x += wide + 18;
  }
  return lines;
}

/** Draw what the panels show, in the colours of the page. @param {Shown} shown */
export function drawPicture({ scene, state, views, root, zoom }) {
  const style = getComputedStyle(root), ink = style.color, soft = getComputedStyle(views[0].facts).color;
  const canvas = document.createElement('canvas');
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'));
  const inner = views.length * (SIDE + GAP) - GAP, top = TITLE + HEAD + SIDE + FOOT;
  context.font = `12px ${style.fontFamily}`;
  /** @param {string} text */
  const wide = text => context.measureText(text).width;
  const texts = inLines(describeView({ scene, state, zoom }), wide, inner);
  const keys = inLines(legendOf(scene, state), ({ kind, text }) => SIGN_WIDTHS[kind] + 6 + wide(text), inner);
  canvas.width = SCALE * (inner + 2 * GAP);
  canvas.height = SCALE * (top + LINE * (texts.length + keys.length) + END);
  context.scale(SCALE, SCALE);
  context.fillStyle = getComputedStyle(views[0].card).backgroundColor;
  context.fillRect(0, 0, canvas.width, canvas.height);
  /** @param {string} text @param {number} x @param {number} y @param {string} font @param {string} colour @param {number} [width] */
  const write = (text, x, y, font, colour, width = SIDE) => {
    context.font = `${font} ${style.fontFamily}`;
    context.fillStyle = colour;
    context.fillText(text, x, y, width);
  };
  write([scene.name, scene.label].filter(Boolean).join('  \u00b7  '), GAP, TITLE - 6, '600 15px', ink, inner);
  views.forEach((view, k) => {
    const x = GAP + k * (SIDE + GAP), y = TITLE + HEAD - 14;
    const model = scene.models.find(m => m.name === view.card.dataset.model);
    const limit = model && !model.error ? `threshold ${(model.judgedAt ?? model.threshold).toFixed(2)}` : '';
    write(view.name.textContent || '', x, TITLE + 22, '650 14px', ink);
    write([view.facts.textContent, limit].filter(Boolean).join(', '), x, TITLE + 40, '12px', soft);
    drawPanel(context, view, scene, x, y, partOf(zoom));
    const scores = model && model.scores;
    if (!scores) {
      write((model && model.error) || (view.note.textContent || '').trim(), x, y + SIDE + 20, '12px', soft);
      return;
    }
    SCORES.forEach((key, i) => {
      write(SCORE_NAMES[key], x + i * SIDE / 5, y + SIDE + 20, '11px', soft);
      write(scores[key].toFixed(3), x + i * SIDE / 5, y + SIDE + 38, '500 14px', ink);
    });
  });
  texts.forEach((row, i) => row.forEach(([text, x]) => write(text, GAP + x, top + LINE * i, '12px', soft, inner)));
  keys.forEach((row, i) => row.forEach(([sign, x]) => {
    const y = top + LINE * (texts.length + i);
    drawSign(context, sign, GAP + x, y - 10, soft);
    write(sign.text, GAP + x + SIGN_WIDTHS[sign.kind] + 6, y, '12px', soft, inner);
  }));
  return canvas;
}

/**
 * A sign of the legend, 12 units high.
 * @param {CanvasRenderingContext2D} context @param {Sign} sign @param {number} x @param {number} y @param {string} edge
 */
function drawSign(context, { kind, colour }, x, y, edge) {
  const wide = SIGN_WIDTHS[kind];
  if (kind === 'line' || kind === 'dashed') {
    context.strokeStyle = colour || edge;
    context.lineWidth = 2.5;
    context.setLineDash(kind === 'dashed' ? [2.5, 2.5] : []);
    context.stroke(new Path2D(`M${x} ${y + 6}h${wide}`));
    context.setLineDash([]);
    return;
  }
  const ramp = context.createLinearGradient(x, 0, x + wide, 0);
  HEAT.forEach((rgb, i) => ramp.addColorStop(i / (HEAT.length - 1), css(rgb)));
  context.fillStyle = kind === 'heat' ? ramp : kind === 'hatch' ? NULL_GREY : colour;
  context.fillRect(x, y, wide, 12);
  context.lineWidth = 1;
  context.strokeStyle = edge;
  context.strokeRect(x, y, wide, 12);
}

/**
 * One panel: its pixels, and its outlines at the picture's own resolution.
 * @param {CanvasRenderingContext2D} context @param {View} view @param {Scene} scene
 * @param {number} x @param {number} y @param {Part} part
 */
function drawPanel(context, view, { rows, columns }, x, y, { left, top, share }) {
  const [width, height] = shapeOf(rows, columns).map(of => of * SIDE);
  const [from, down, across, deep] = [left * columns, top * rows, share * columns, share * rows];
  const place = new DOMMatrix([width / across, 0, 0, height / deep, 0, 0]).translate(-from, -down);
  context.save();
  context.translate(x, y);
  context.clip(new Path2D(`M0 0h${width}v${height}h${-width}z`));
  context.imageSmoothingEnabled = false;
  context.drawImage(view.canvas, from, down, across, deep, 0, 0, width, height);
  context.lineWidth = 2;
  for (const name of /** @type {const} */ (['nulls', 'found', 'truth'])) {
    const path = new Path2D();
    path.addPath(new Path2D(view.paths[name].getAttribute('d') || ''), place);
    context.setLineDash(name === 'found' ? [1, 5] : []);
    context.strokeStyle = getComputedStyle(view.paths[name]).stroke;
    if (name === 'nulls') { context.fillStyle = NULL_GREY; context.fill(path); } else context.stroke(path);
  }
  context.restore();
}

/** Save the view as a PNG file. @param {Shown} shown */
export function savePicture(shown) {
  drawPicture(shown).toBlob(blob => { if (blob) download(`${stemOf(shown.scene.name)}.png`, blob); }, 'image/png');
}
