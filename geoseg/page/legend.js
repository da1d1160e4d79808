// The legend under the panels, and the values under the pointer.

function swatch(className, text, colour) {
  const item = el('span', 'gs-key');
  const sign = el('i', className);
  if (colour) sign.style.background = colour;
  item.append(sign, el('span', '', text));
  return item;
}

/** What is on the screen now, and nothing else: `{ kind, text, colour }`, some without a colour. */
function legendOf(scene, state) {
  const palette = PALETTES[state.palette];
  const display = displayOf(state, scene.truth);
  const sign = (word, colour) => ({ kind: 'fill', text: say(`legend.${word}`), colour: css(palette[colour]) });
  const items = display === 'errors' ? [sign('tn', TN), sign('tp', TP), sign('fn', FN), sign('fp', FP)]
    : display === 'mask' ? [sign('found', FOUND), sign('background', TN)]
      : [{ kind: 'heat', text: say(`legend.${display}`) }, { kind: 'dashed', text: say('legend.threshold') }];
  if (scene.truth && state.truth) items.push({ kind: 'line', text: say('legend.truth'), colour: palette.outline });
  if (scene.lost) items.push({ kind: 'hatch', text: say('legend.null') });
  return items;
}

const SIGNS = { fill: '', heat: 'gs-heat', line: 'gs-line', dashed: 'gs-line gs-dashed', hatch: 'gs-hatch' };

function paintLegend(legend, scene, state) {
  const items = legendOf(scene, state), key = JSON.stringify(items);
  if (legend.dataset.key === key) return;
  legend.dataset.key = key;
  legend.replaceChildren(...items.map(({ kind, text, colour }) => {
    const item = swatch(SIGNS[kind], text), look = item.firstChild.style;
    if (kind === 'heat') look.background = `linear-gradient(90deg, ${HEAT.map(css).join(', ')})`;
    else if (kind === 'line') look.borderColor = colour;
    else if (colour) look.background = colour;
    return item;
  }));
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
