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
  const display = displayOf(state, scene.truth);
  const key = [state.palette, display, Boolean(scene.truth), state.truth, scene.lost > 0].join();
  if (legend.dataset.key === key) return;
  legend.dataset.key = key;
  const items = [];
  const sign = (word, colour) => swatch('', say(`legend.${word}`), css(palette[colour]));
  if (display === 'errors') {
    items.push(sign('tn', TN), sign('tp', TP), sign('fn', FN), sign('fp', FP));
  } else if (display === 'mask') {
    items.push(sign('found', FOUND), sign('background', TN));
  } else {
    const ramp = swatch('gs-heat', say(`legend.${display}`));
    ramp.firstChild.style.background = `linear-gradient(90deg, ${HEAT.map(css).join(', ')})`;
    items.push(ramp, swatch('gs-line gs-dashed', say('legend.threshold')));
  }
  if (scene.truth && state.truth) {
    const line = swatch('gs-line', say('legend.truth'));
    line.firstChild.style.borderColor = palette.outline;
    items.push(line);
  }
  if (scene.lost) items.push(swatch('gs-hatch', say('legend.null')));
  legend.replaceChildren(...items);
}

/** One pixel, marked in every panel and read out below: the panels show the same place. */
function bindPointer(root, current, views) {
  const readout = root.querySelector('.gs-readout');
  let at = null;
  const clear = () => {
    at = null;
    readout.textContent = '';
    for (const view of views) setPath(view, 'pointer', '');
  };
  const follow = (view, event) => {
    const scene = current();
    if (!scene) return;
    const box = view.canvas.getBoundingClientRect();
    const a = Math.floor((event.clientX - box.left) / box.width * scene.columns);
    const z = Math.floor((event.clientY - box.top) / box.height * scene.rows);
    if (a < 0 || z < 0 || a >= scene.columns || z >= scene.rows) return;
    at = [z, a];
    for (const other of views) setPath(other, 'pointer', `M${a} ${z}h1v1h-1z`);
    readout.textContent = describePixel(scene, z, a);
  };
  for (const view of views) {
    view.frame.addEventListener('pointermove', event => follow(view, event));
    view.frame.addEventListener('pointerdown', event => follow(view, event));
    view.frame.addEventListener('pointerleave', event => { if (event.pointerType === 'mouse') clear(); });
  }
  /** Read the same pixel of the scene that is painted now. */
  return scene => {
    if (!at) return;
    if (at[0] >= scene.rows || at[1] >= scene.columns) clear(); else readout.textContent = describePixel(scene, ...at);
  };
}

function describePixel(scene, z, a) {
  const i = z * scene.columns + a;
  const value = scene.patch[i];
  const digits = `${value < 0 ? '\u2212' : ''}${Math.abs(value).toFixed(4)}`;
  return [
    say('pixel.place', { row: z, column: a }),
    Number.isNaN(value) ? say('pixel.null') : say('pixel.value', { value: digits }),
    scene.truth ? say(scene.truth[i] ? 'pixel.groove' : 'pixel.background') : '',
    ...scene.models.filter(m => !m.error && !Number.isNaN(m.probability[i]))
      .map(m => say('pixel.model', { model: m.name, probability: m.probability[i].toFixed(3) })),
  ].filter(Boolean).join('  \u00b7  ');
}
