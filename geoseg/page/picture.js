// The view as one picture that explains itself: the panels as they are seen, each with its name and
// scores, and below them the settings and the legend.

const PICTURE = { side: 324, gap: 24, head: 66, foot: 62, title: 34, line: 19, end: 12, scale: 2 };

/** The part of a patch that is seen, zoomed or not, in shares of its width and height. */
function partOf({ k, x, y }) {
  return { left: -x / k, top: -y / k, share: 1 / k };
}

/** The settings that only a picture needs: what is in its panels, and in which greys. */
function describeView({ scene, state, zoomed }) {
  const { left, top, share } = partOf(zoomed);
  const [low, high] = rangeOf(scene.patch, state.range).map(signed);
  const first = (from, n) => Math.floor(from * n + 1e-6);
  const last = (from, n) => Math.ceil((from + share) * n - 1e-6) - 1;
  return [
    say('save.display', { display: say(`dock.${displayOf(state, scene.truth)}`) }),
    say('save.grey', { low, high }),
    state.opacity ? say('save.overlay', { n: state.opacity }) : '',
    share < 1 ? say('save.part', {
      top: first(top, scene.rows), bottom: last(top, scene.rows),
      left: first(left, scene.columns), right: last(left, scene.columns),
    }) : '',
  ].filter(Boolean);
}

/** Things of the given widths in lines of a width: a list of lines, each of `[thing, its place]`. */
function inLines(things, widthOf, gap, width) {
  const lines = [[]];
  let x = 0;
  for (const thing of things) {
    const wide = widthOf(thing);
    if (x && x + wide > width) { lines.push([]); x = 0; }
    lines.at(-1).push([thing, x]);
    x += wide + gap;
  }
  return lines;
}

/** A canvas with what the panels show, in the colours of the page; `settings` are texts. */
function drawPicture(app, settings) {
  const { side, gap, head, foot, title, line, end, scale } = PICTURE;
  const { scene, state, views, root } = app;
  const style = getComputedStyle(root);
  const ink = style.getPropertyValue('--ink'), soft = style.getPropertyValue('--soft');
  const canvas = document.createElement('canvas');
  const context = canvas.getContext('2d');
  const font = `12px ${style.fontFamily}`;
  const inner = views.length * (side + gap) - gap;
  context.font = font;
  const wide = text => context.measureText(text).width;
  const texts = inLines([...settings, ...describeView(app)], wide, 18, inner);
  const keys = inLines(legendOf(scene, state), ({ kind, text }) => SIGN_WIDTHS[kind] + 6 + wide(text), 18, inner);
  const top = title + head + side + foot;
  canvas.width = scale * (inner + 2 * gap);
  canvas.height = scale * (top + line * (texts.length + keys.length) + end);
  context.scale(scale, scale);
  context.fillStyle = style.getPropertyValue('--sheet');
  context.fillRect(0, 0, canvas.width, canvas.height);
  const write = (text, x, y, look, colour, width = side) => {
    context.font = `${look} ${style.fontFamily}`;
    context.fillStyle = colour;
    context.fillText(text, x, y, width);
  };
  write([scene.name, scene.label].filter(Boolean).join('  \u00b7  '), gap, title - 6, '600 15px', ink, inner);
  views.forEach((view, k) => {
    const x = gap + k * (side + gap), y = title + head - 14;
    const model = scene.models.find(m => m.name === view.card.dataset.model);
    const limit = model && !model.error ? say('save.threshold', { n: model.judgedAt.toFixed(2) }) : '';
    write(view.name.textContent, x, title + 22, '650 14px', ink);
    write([view.facts.textContent, limit].filter(Boolean).join(', '), x, title + 40, '12px', soft);
    drawPanel(context, view, scene, x, y, side, partOf(app.zoomed));
    if (model && model.scores) {
      SCORES.forEach((key, i) => {
        write(say(`scores.${key}`), x + i * side / 5, y + side + 20, '11px', soft);
        write(model.scores[key].toFixed(3), x + i * side / 5, y + side + 38, '500 14px', ink);
      });
    } else {
      write(model && model.error ? model.error : view.note.textContent.trim(), x, y + side + 20, '12px', soft);
    }
  });
  texts.forEach((row, i) => row.forEach(([text, x]) => write(text, gap + x, top + line * i, '12px', soft, inner)));
  keys.forEach((row, i) => row.forEach(([{ kind, text, colour }, x]) => {
    const y = top + line * (texts.length + i);
    drawSign(context, kind, colour || soft, gap + x, y - 10, soft);
    write(text, gap + x + SIGN_WIDTHS[kind] + 6, y, '12px', soft, inner);
  }));
  return canvas;
}

const SIGN_WIDTHS = { fill: 13, heat: 64, line: 18, dashed: 18, hatch: 13 };
const NULL_GREY = '#80858d'; // the mean of the page's hatching

/** A key's sign, 12 units high. */
function drawSign(context, kind, colour, x, y, edge) {
  const wide = SIGN_WIDTHS[kind];
  if (kind === 'line' || kind === 'dashed') {
    context.strokeStyle = colour;
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

/** One panel: its pixels, and its outlines at the picture's own resolution. */
function drawPanel(context, view, scene, x, y, side, { left, top, share }) {
  const { rows, columns } = scene;
  const [width, height] = shapeOf(rows, columns).map(part => part * side);
  const part = [left * columns, top * rows, share * columns, share * rows];
  const place = new DOMMatrix([width / part[2], 0, 0, height / part[3], 0, 0]).translate(-part[0], -part[1]);
  context.save();
  context.translate(x, y);
  context.clip(new Path2D(`M0 0h${width}v${height}h${-width}z`));
  context.imageSmoothingEnabled = false;
  context.drawImage(view.canvas, ...part, 0, 0, width, height);
  context.lineWidth = 2;
  for (const name of ['nulls', 'found', 'truth']) {
    const path = new Path2D();
    path.addPath(new Path2D(view.paths[name].getAttribute('d')), place);
    context.setLineDash(name === 'found' ? [1, 5] : []);
    context.strokeStyle = getComputedStyle(view.paths[name]).stroke;
    if (name === 'nulls') { context.fillStyle = NULL_GREY; context.fill(path); } else { context.stroke(path); }
  }
  context.restore();
}
