// Every text on the page, from words.json: `say('dock.reset')`, `say('strip.some_well', { well: 3 })`.

let WORDS = {};

/** The text of a key, with {name} filled in. A key that is missing is a mistake of ours: say so. */
function say(key, values = {}) {
  const text = key.split('.').reduce((part, name) => (part || {})[name], WORDS);
  if (typeof text !== 'string') throw new Error(`words.json has no ${key}`);
  return text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

/** "1 patch", "53 patches": a key in `counts` with a text for one and one for more. */
function many(n, key) {
  return say(`counts.${key}.${n === 1 ? 'one' : 'more'}`, { n: n.toLocaleString('en') });
}

/** Write the texts into the elements that ask for them: content, title and name. */
function fillWords(root) {
  for (const node of root.querySelectorAll('[data-word]')) node.prepend(say(node.dataset.word));
  for (const node of root.querySelectorAll('[data-tip]')) node.title = say(node.dataset.tip);
  for (const node of root.querySelectorAll('[data-name]')) node.setAttribute('aria-label', say(node.dataset.name));
}
