// The nodes: filters over a map and a table of them.

import { byId, el, reconcile, setText } from "./dom.js";
import { count } from "./format.js";
import { STATUSES } from "./measures.js";
import { NodeMap } from "./nodemap.js";
import { byName, NodeTable } from "./nodetable.js";

export class Nodes {
  /** @param {(node: any) => void} onOpen */
  constructor(onOpen) {
    this._map = new NodeMap(onOpen);
    this._table = new NodeTable(onOpen);
    this._nodes = [];
    this._text = byId("filter-text");
    this._status = byId("filter-status");
    this._service = byId("filter-service");
    this._measure = byId("map-measure");
    byId("filters").addEventListener("input", () => this._render());
    byId("filters").addEventListener("submit", (event) => event.preventDefault());
    this._offerChoices();
  }

  /** @param {any[]} nodes all that /api/v1/nodes has */
  show(nodes) {
    this._nodes = byName(nodes);
    this._offerChoices();
    this._render();
  }

  _offerChoices() {
    const inStatus = countBy(this._nodes, (node) => [node.status]);
    const withService = countBy(this._nodes, (node) => node.services_installed);
    offer(this._status, [
      { value: "", text: "Any status" },
      ...STATUSES.map((status) => choice(status, inStatus)),
    ]);
    offer(this._service, [
      { value: "", text: "Any service" },
      ...[...withService.keys()].sort().map((service) => choice(service, withService)),
    ]);
  }

  _render() {
    const found = this._nodes.filter((node) => this._matches(node));
    this._map.show(this._nodes, new Set(found), this._measure.value);
    this._table.show(found);
    const all = this._nodes.length;
    setText(
      byId("nodes-shown"),
      found.length === all ? `${count(all)} in all` : `${count(found.length)} of ${count(all)} shown`,
    );
  }

  _matches(node) {
    const text = this._text.value.trim().toLowerCase();
    return (
      (!text ||
        node.name.toLowerCase().includes(text) ||
        node.node_id.toLowerCase().includes(text)) &&
      (!this._status.value || node.status === this._status.value) &&
      (!this._service.value || node.services_installed.includes(this._service.value))
    );
  }
}

const choice = (name, counts) => ({ value: name, text: `${name} (${count(counts.get(name) ?? 0)})` });

/** Offer choices, and keep the chosen one even while no node has it. */
function offer(select, choices) {
  const chosen = select.value;
  if (chosen && !choices.some(({ value }) => value === chosen)) {
    choices.push({ value: chosen, text: `${chosen} (0)` });
  }
  reconcile(select, choices, {
    key: ({ value }) => `=${value}`,
    create: ({ value }) => el("option", { value }),
    update: (option, { text }) => setText(option, text),
  });
  select.value = chosen;
}

function countBy(nodes, namesOf) {
  const counts = new Map();
  for (const node of nodes) {
    for (const name of namesOf(node)) counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  return counts;
}
