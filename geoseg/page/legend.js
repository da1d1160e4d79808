// The legend under the panels, and the values under the pointer.

function swatch(className, text, colour) {
  const item = el('span', 'gs-key');
  const sign = el('i', className);
  if (colour) sign.style.background = colour;
  item.append(sign, el('span', '', text));
  return item;
}

/** Name what is on the screen now, and nothing else. */
function paintLegend(legend, scene, state) {
  const palette = PALETTES[state.palette];
  const errors = scene.truth && state.display === 'errors';
  const key = [state.palette, state.display, Boolean(scene.truth), state.truth, scene.lost > 0].join();
  if (legend.dataset.key === key) return;
  legend.dataset.key = key;
  const items = [];
  if (state.display === 'probability') {
    const ramp = swatch('gs-heat', 'probability of a groove, 0 to 1');
    ramp.firstChild.style.background = `linear-gradient(90deg, ${HEAT.map(css).join(', ')})`;
    items.push(ramp, swatch('gs-line gs-dashed', 'threshold'));
  } else if (errors) {
    items.push(
      swatch('', 'background, correct', css(palette[TN])), swatch('', 'groove, correct', css(palette[TP])),
      swatch('', 'groove missed', css(palette[FN])), swatch('', 'false alarm', css(palette[FP])));
  } else {
    items.push(swatch('', 'groove, says the model', css(palette[FOUND])), swatch('', 'background', css(palette[TN])));
  }
  if (scene.truth && state.truth) {
    const line = swatch('gs-line', 'true groove');
    line.firstChild.style.borderColor = palette.outline;
    items.push(line);
  }
  if (scene.lost) items.push(swatch('gs-hatch', 'no measurement'));
  legend.replaceChildren(...items);
}

/** One pixel, marked in every panel and read out below: the panels show the same place. */
function bindPointer(root, current, views) {
  const readout = root.querySelector('.gs-readout');
  const clear = () => {
    readout.textContent = '\u00a0';
    for (const view of views) setPath(view, 'pointer', '');
  };
  const follow = (view, event) => {
    const scene = current();
    if (!scene) return;
    const box = view.canvas.getBoundingClientRect();
    const a = Math.floor((event.clientX - box.left) / box.width * scene.columns);
    const z = Math.floor((event.clientY - box.top) / box.height * scene.rows);
    if (a < 0 || z < 0 || a >= scene.columns || z >= scene.rows) return;
    for (const other of views) setPath(other, 'pointer', `M${a} ${z}h1v1h-1z`);
    readout.textContent = describePixel(scene, z, a);
  };
  for (const view of views) {
    view.frame.addEventListener('pointermove', event => follow(view, event));
    view.frame.addEventListener('pointerdown', event => follow(view, event));
    view.frame.addEventListener('pointerleave', clear);
  }
}

function describePixel(scene, z, a) {
  const i = z * scene.columns + a;
  const value = scene.patch[i];
  const measured = Number.isNaN(value) ? 'no measurement' : `value ${value < 0 ? '\u2212' : ''}${Math.abs(value).toFixed(4)}`;
  const labelled = scene.truth ? (scene.truth[i] ? 'labelled groove' : 'labelled background') : '';
  const models = scene.models.filter(m => !m.error && !Number.isNaN(m.probability[i]))
    .map(m => `${m.name} ${m.probability[i].toFixed(3)}`);
  return [`Row ${z}, column ${a}`, measured, labelled, ...models].filter(Boolean).join('  \u00b7  ');
}
