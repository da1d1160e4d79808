// The view as one picture: the panels side by side, each with its name and scores.

const PICTURE = { side: 324, gap: 24, head: 66, foot: 62, title: 34, scale: 2 };

/** A canvas with what the panels show, in the colours of the page. `settings` goes under the name. */
function drawPicture(app, settings) {
  const { side, gap, head, foot, title, scale } = PICTURE;
  const { scene, views, root } = app;
  const style = getComputedStyle(root);
  const ink = style.getPropertyValue('--ink'), soft = style.getPropertyValue('--soft');
  const canvas = document.createElement('canvas');
  canvas.width = scale * (gap + views.length * (side + gap));
  canvas.height = scale * (title + head + side + foot);
  const context = canvas.getContext('2d');
  context.scale(scale, scale);
  context.fillStyle = style.getPropertyValue('--sheet');
  context.fillRect(0, 0, canvas.width, canvas.height);
  const write = (text, x, y, font, colour, width = side) => {
    context.font = `${font} ${style.fontFamily}`;
    context.fillStyle = colour;
    context.fillText(text, x, y, width);
  };
  write(`${scene.name}  \u00b7  ${settings}`, gap, title - 6, '600 15px', ink, canvas.width / scale - 2 * gap);
  views.forEach((view, k) => {
    const x = gap + k * (side + gap), y = title + head - 14;
    write(view.name.textContent, x, title + 22, '650 14px', ink);
    write(view.facts.textContent, x, title + 40, '12px', soft);
    drawPanel(context, view, scene, x, y, side, style);
    const model = scene.models.find(m => m.name === view.card.dataset.model);
    if (model && model.scores) {
      SCORES.forEach((key, i) => {
        write(say(`scores.${key}`), x + i * side / 5, y + side + 20, '11px', soft);
        write(model.scores[key].toFixed(3), x + i * side / 5, y + side + 38, '500 14px', ink);
      });
    } else {
      write(view.note.textContent.trim(), x, y + side + 20, '12px', soft);
    }
  });
  return canvas;
}

/** One panel: its pixels, and its outlines at the picture's own resolution. */
function drawPanel(context, view, scene, x, y, side) {
  const { rows, columns } = scene;
  const unit = Math.min(side / columns, side / rows);
  context.imageSmoothingEnabled = false;
  context.drawImage(view.canvas, x, y, columns * unit, rows * unit);
  context.save();
  context.translate(x, y);
  context.scale(unit, unit);
  for (const name of ['nulls', 'found', 'truth']) {
    const path = new Path2D(view.paths[name].getAttribute('d'));
    const look = getComputedStyle(view.paths[name]);
    context.lineWidth = 2 / unit;
    context.setLineDash(name === 'found' ? [1 / unit, 5 / unit] : []);
    context.strokeStyle = look.stroke;
    if (name === 'nulls') { context.fillStyle = '#80858d'; context.fill(path); } else { context.stroke(path); }
  }
  context.restore();
}
