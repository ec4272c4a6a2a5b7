// Nodes named in passing, as buttons that open them.

import { el, reconcile, setText } from "./dom.js";

/**
 * Show nodes by their ids; one that is no longer known can't be opened.
 * @param {Element} box
 * @param {string[]} ids
 * @param {Map<string, any>} nodes by id
 * @param {(id: string) => string} [figureOf] what to say beside the name
 */
export function showChips(box, ids, nodes, figureOf = () => "") {
  reconcile(box, [...new Set(ids)], {
    key: (id) => `node ${id}`,
    create: (id) =>
      el(
        "button",
        { type: "button", class: "chip", "data-node": id, title: id },
        el("span"),
        " ",
        el("span", { class: "chip-figure" }),
      ),
    update: (chip, id) => {
      setText(chip.children[0], nodes.get(id)?.name ?? id);
      setText(chip.children[1], figureOf(id));
      chip.disabled = !nodes.has(id);
    },
  });
}

/** Open the node of a chip that is clicked anywhere in `box`. */
export function openFromChips(box, onOpen) {
  box.addEventListener("click", (event) => {
    const id = event.target.closest("[data-node]")?.dataset.node;
    if (id !== undefined) onOpen(id);
  });
}
