// Why jobs were refused, failed or found no node, with nodes to look at.

import { showBars } from "./bars.js";
import { openFromChips, showChips } from "./chips.js";
import { byId, el, reconcile } from "./dom.js";
import { count, words } from "./format.js";

const GROUPS = [
  { field: "excluded", title: "Nodes passed over, by reason", empty: "No node was passed over.", tone: "warn" },
  { field: "failed_by_code", title: "Jobs failed, by code", empty: "No job has failed.", tone: "bad" },
  { field: "refused_by_code", title: "Refused before they were jobs", empty: "Nothing was refused.", tone: "bad" },
];

export class Refusals {
  /** @param {(nodeId: string) => void} onOpen */
  constructor(onOpen) {
    this._lists = new Map();
    for (const { field, title } of GROUPS) {
      const list = el("ul", { class: "bars" });
      this._lists.set(field, list);
      byId("refusals").append(el("h3", {}, title), list);
      if (field === "excluded") {
        this._samples = el("ul", { class: "samples", "aria-label": "Nodes passed over, some of them" });
        byId("refusals").append(this._samples);
      }
    }
    openFromChips(this._samples, onOpen);
  }

  /** @param {any} refusals @param {Map<string, any>} nodes by id */
  show(refusals, nodes) {
    for (const { field, empty, tone } of GROUPS) {
      const entries = Object.entries(refusals[field] ?? {}).sort((a, b) => b[1] - a[1]);
      const most = Math.max(1, ...entries.map(([, total]) => total));
      const bars = entries.map(([name, total]) => ({
        key: name,
        label: words(name),
        text: count(total),
        share: total / most,
        tone,
      }));
      showBars(this._lists.get(field), bars, empty);
    }
    this._showSamples(refusals.samples ?? {}, nodes);
  }

  _showSamples(samples, nodes) {
    const items = Object.entries(samples).filter(([, ids]) => ids.length);
    reconcile(this._samples, items, {
      key: ([reason]) => reason,
      create: ([reason]) => el("li", {}, el("span", {}, `${words(reason)}: `), el("span", { class: "chips" })),
      update: (element, [, ids]) => showChips(element.lastElementChild, ids, nodes),
    });
  }
}
