// Lists of figures with a bar each.

import { el, reconcile, setAttribute, setText } from "./dom.js";

/**
 * @typedef {{key: string, label: string, text: string, share: number, share2?: number,
 *   tone?: string, note?: string, more?: HTMLElement[]}} Bar `share`s are 0 to 1
 */

/** Show bars in a list. @param {Element} list @param {Bar[]} bars @param {string} whenEmpty */
export function showBars(list, bars, whenEmpty) {
  const items = bars.length ? bars : [{ key: "", label: whenEmpty }];
  reconcile(list, items, {
    key: (bar) => (bar.key ? `bar ${bar.key}` : "empty"),
    create: (bar) => (bar.key ? makeBar(bar) : el("li", { class: "empty" }, bar.label)),
    update: (element, bar) => {
      if (bar.key) fillBar(element, bar);
    },
  });
}

function makeBar(bar) {
  return el(
    "li",
    {},
    el("span", { class: "bar-label" }, bar.label),
    el("span", { class: "bar-text" }),
    el("span", { class: "bar", "aria-hidden": "true" }, el("span", {}), el("span", {})),
    el("span", { class: "bar-note quiet" }),
  );
}

function fillBar(element, bar) {
  const [, text, track, note] = element.children;
  setText(text, bar.text);
  setAttribute(track, "data-tone", bar.tone ?? null);
  track.children[0].style.width = `${100 * bar.share}%`;
  track.children[1].style.width = `${100 * (bar.share2 ?? 0)}%`;
  setText(note, bar.note ?? "");
}
