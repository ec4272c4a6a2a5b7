// The only ways in which this page makes elements. Data becomes text nodes and attributes, never
// markup: names of nodes and texts of errors come from strangers.

/**
 * @param {string} tag
 * @param {Record<string, string | number | boolean | null>} [attributes] false and null: left out
 * @param {...(Node | string)} children
 * @returns {HTMLElement}
 */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== false && value !== null) {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
  element.append(...children);
  return element;
}

/** Return the element of that id, which the page is known to have. */
export function byId(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`the page has no #${id}`);
  return element;
}

/** Set the text where it differs: an equal one would disturb selections and screen readers. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Set or remove an attribute. */
export function setAttribute(element, name, value) {
  if (value === null) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, String(value));
}

/**
 * Make the children of `parent` stand for `items`, in their order. An item keeps its element as
 * long as it keeps its key, and with it focus and selection.
 *
 * @template T
 * @param {Element} parent whose children are all made here
 * @param {T[]} items
 * @param {{key: (item: T) => string, create: (item: T) => HTMLElement,
 *          update?: (element: HTMLElement, item: T) => void}} how
 */
export function reconcile(parent, items, { key, create, update }) {
  const focused = parent.contains(document.activeElement) ? document.activeElement : null;
  const wanted = new Set(items.map(key));
  const old = new Map();
  for (const child of Array.from(parent.children)) {
    // First, so that those that stay need no move: one that is moved loses the focus.
    if (wanted.has(child.dataset.key)) old.set(child.dataset.key, child);
    else child.remove();
  }
  let next = parent.firstElementChild;
  for (const item of items) {
    let element = old.get(key(item));
    if (!element) {
      element = create(item);
      element.dataset.key = key(item);
    }
    update?.(element, item);
    if (element === next) next = next.nextElementSibling;
    else parent.insertBefore(element, next);
  }
  if (focused?.isConnected) focused.focus({ preventScroll: true });
}
