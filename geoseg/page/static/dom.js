// Elements and texts. A text that a user can name goes in as text, and never as HTML.

const SVG = 'http://www.w3.org/2000/svg';

/**
 * Make an element.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag @param {string} [className] @param {string} [text]
 * @returns {HTMLElementTagNameMap[K]}
 */
export function el(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

/**
 * Make an SVG element.
 * @template {keyof SVGElementTagNameMap} K
 * @param {K} tag @param {Record<string, string | number>} [attributes]
 * @returns {SVGElementTagNameMap[K]}
 */
export function svg(tag, attributes = {}) {
  const node = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, String(value));
  return node;
}

/**
 * Write a text where it is another one: each write is laid out anew, and read aloud anew.
 * @param {Element} node @param {string} text
 */
export function tell(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/**
 * Write an attribute where it is another one, as each write makes the browser recompute styles.
 * @param {Element} node @param {string} name @param {string} value
 */
export function mark(node, name, value) {
  if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

/** Count things in words: "1 patch", "1,024 patches". @param {number} n @param {string} one @param {string} more */
export const plural = (n, one, more) => `${n.toLocaleString('en')} ${n === 1 ? one : more}`;

/** Write a number with a true minus sign. @param {number} value @param {number} [digits] after the point */
export const signed = (value, digits = 3) => `${value < 0 ? '\u2212' : ''}${Math.abs(value).toFixed(digits)}`;
