// Services: what the catalogue has against what the nodes have.

import { byId, el, reconcile, setAttribute, setText } from "./dom.js";
import { count } from "./format.js";

/** @param {any} nodes the snapshot's part about nodes */
export function showServices({
  available_services: catalogue,
  service_node_counts: installed,
  model_node_counts: ready,
  connected_nodes: connected,
}) {
  const known = new Map(catalogue.map((service) => [service.service_id, service]));
  const ids = [...new Set([...known.keys(), ...Object.keys(installed), ...Object.keys(ready)])];
  const rows = ids
    .map((id) => ({
      id,
      info: known.get(id),
      installed: installed[id] ?? 0,
      ready: ready[id] ?? 0,
      connected,
    }))
    .sort((a, b) => b.installed - a.installed || (a.id < b.id ? -1 : 1));
  reconcile(byId("services"), rows.length ? rows : [null], {
    key: (row) => (row ? `service ${row.id}` : "empty"),
    create: (row) => (row ? makeRow() : makeEmpty()),
    update: (element, row) => {
      if (row) fillRow(element, row);
    },
  });
  const missing = rows.filter((row) => row.info && !row.installed).length;
  setText(
    byId("services-note"),
    `${count(catalogue.length)} in the catalogue${missing ? `, ${count(missing)} of them on no node` : ""}`,
  );
}

function makeEmpty() {
  return el("tr", {}, el("td", { colspan: 5, class: "empty" }, "No services yet."));
}

function makeRow() {
  return el(
    "tr",
    {},
    el("th", { scope: "row" }, el("span", {}), el("span", { class: "quiet sub" })),
    el("td", { class: "optional" }),
    el("td", { class: "figure" }),
    el("td", { class: "figure" }),
    el(
      "td",
      { class: "optional track" },
      el("span", { class: "bar over", "aria-hidden": "true" }, el("span", {}), el("span", {})),
    ),
  );
}

function fillRow(row, { id, info, installed, ready, connected }) {
  const [name, version, installedCell, readyCell, track] = row.children;
  setText(name.children[0], id);
  setText(name.children[1], info && info.name !== id ? info.name : "");
  setText(version, info ? info.latest_version : "not in it");
  setAttribute(version, "class", `optional ${info ? "" : "warn"}`);
  setText(installedCell, count(installed));
  setText(readyCell, count(ready));
  setAttribute(readyCell, "class", `figure ${ready < installed ? "warn" : ""}`);
  const [back, front] = track.firstElementChild.children;
  back.style.width = `${connected ? (100 * installed) / connected : 0}%`;
  front.style.width = `${connected ? (100 * ready) / connected : 0}%`;
}
